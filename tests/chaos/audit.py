"""What is there once a run is over and all is mended: every job, event, picture and key, noted for
the checker; main thread of the test."""

import hashlib
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
from PIL import Image
from redis import Redis

from darkroom import keeper
from darkroom.images import ImageStore
from darkroom.queue.queue import Queue
from tests.chaos.clients import ENDED
from tests.chaos.history import History
from tests.chaos.house import House

HANGS_AFTER_S = 120.0
EMPTY_IN_THE_END = (
    "darkroom:leases",
    "darkroom:deadlines",
    "darkroom:waiting:*",
    "darkroom:claimed:*",
    "darkroom:active:*",
    "darkroom:engine:*",
    "rq:wip:*",
    "rq:queue:*",
    "rq:execution:*",
    "rq:executions:*",
)
"""Keys that are about jobs under way."""


def take(house: House, history: History, url: str, hangs_after_s: float = HANGS_AFTER_S) -> None:
    """Wait until all accepted jobs have ended, or hang, and note everything."""
    jobs = {line["job"] for line in history.lines if line["kind"] == "ack"}
    with httpx2.Client(base_url=url, timeout=30) as http:
        _wait_for_ends(http, jobs, hangs_after_s)
        for job in _list(http):
            key = next(iter(job["tags"]), job["id"])
            history.note("listed", job=job["id"], key=key)
            jobs.add(job["id"])
        with ThreadPoolExecutor(4) as pool:
            for lines in pool.map(lambda job: about(http, house.redis, job), sorted(jobs)):
                for line in lines:
                    history.note(**line)
    _note_counters(house.redis, history, len(jobs))
    _note_keys(house.redis, history)
    _note_files(house, history)
    for death in house.unexpected:
        history.note("died", what=death)


def note_last_seen(history: History, url: str) -> None:
    """For runs whose jobs are forgotten in time: whether each was seen to end, or ends now."""
    seen = {line["job"]: line for line in list(history.lines) if line["kind"] == "seen"}
    with httpx2.Client(base_url=url, timeout=30) as http:
        for line in [line for line in history.lines if line["kind"] == "ack"]:
            job = line["job"]
            if job in seen and seen[job]["status"] in ENDED:
                continue
            answer = http.get(f"/api/v1/jobs/{job}", params={"wait": 30})
            if answer.status_code == 200 and answer.json()["status"] not in ENDED:
                history.note("astray", job=job, status=answer.json()["status"])


def astray(redis: Redis, history: History) -> None:
    """Note jobs that are neither queued, nor claimed, nor leased, nor ended, at this instant."""
    with redis.pipeline(transaction=True) as pipe:
        pipe.zrange("darkroom:jobs", 0, -1)
        pipe.zrange("darkroom:leases", 0, -1)
        for name in sorted(redis.smembers("darkroom:queues")):
            pipe.lrange(b"rq:queue:" + name, 0, -1)
        known, leased, *queues = pipe.execute()
    places = {job for place in (leased, *queues) for job in place}
    for job in set(known) - places:
        words = redis.eval(_STILL_ASTRAY, 0, job)
        if words:
            history.note("astray", job=job.decode(), status=words.decode())


_STILL_ASTRAY = """
local job = ARGV[1]
local status, queue = unpack(redis.call('HMGET', 'rq:job:' .. job, 'status', 'origin'))
if status ~= 'queued' and status ~= 'started' then return nil end
if redis.call('ZSCORE', 'darkroom:leases', job) then return nil end
if redis.call('LPOS', 'rq:queue:' .. queue, job) then return nil end
return status
"""
"""It may have moved since the first look; this one is of a single instant."""


def _wait_for_ends(http: httpx2.Client, jobs: set[str], patience_s: float) -> None:
    end = time.monotonic() + patience_s
    left = set(jobs)
    while left and time.monotonic() < end:
        for job in sorted(left):
            answer = http.get(f"/api/v1/jobs/{job}", params={"wait": 1})
            if answer.status_code in (404, 410) or (
                answer.status_code == 200 and answer.json()["status"] in ENDED
            ):
                left.discard(job)


def _list(http: httpx2.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"limit": 100}
    while True:
        page = http.get("/api/v1/jobs", params=asked).raise_for_status().json()
        found += page["data"]
        if not page["has_more"]:
            return found
        asked["cursor"] = page["next_cursor"]


def about(http: httpx2.Client, redis: Redis, job: str) -> list[dict[str, Any]]:
    """Lines about one job: its end, its events, its pictures; none if it is not there."""
    answer = http.get(f"/api/v1/jobs/{job}")
    if answer.status_code != 200:
        return []
    body = answer.json()
    pictures = [
        {"kind": "picture", "job": job, "image": image["id"], "wrong": _wrong(http, image)}
        for image in body["images"]
    ]
    return [
        {"kind": "end", "job": job, "body": body},
        {"kind": "events", "job": job, "events": events(redis, job)},
        *pictures,
    ]


def events(redis: Redis, job: str) -> list[list[Any]]:
    """What was told of a job: seconds since 1970 by Valkey's clock, event, content."""
    return [
        [int(entry.split(b"-")[0]) / 1000, told[b"event"].decode(), json.loads(told[b"data"])]
        for entry, told in redis.xrange(f"darkroom:events:{job}")
    ]


def begun(redis: Redis, job: str) -> list[float]:
    """When it began to run, each time."""
    return [
        at
        for at, name, data in events(redis, job)
        if name == "status" and data["status"] == "running"
    ]


def _wrong(http: httpx2.Client, image: dict[str, Any]) -> str:
    """What is wrong with a picture; nothing: ''."""
    answer = http.get(image["url"])
    if answer.status_code != 200:
        return f"answered with {answer.status_code}"
    if hashlib.sha256(answer.content).hexdigest() != image["sha256"]:
        return "not the bytes that were told"
    if len(answer.content) != image["bytes"]:
        return "another size than was told"
    try:
        with Image.open(io.BytesIO(answer.content)) as opened:
            opened.load()
            size = opened.size
    except OSError as error:
        return f"cannot be decoded: {error}"
    if size != (image["width"], image["height"]):
        return f"is {size}"
    again = http.get(image["url"], headers={"If-None-Match": answer.headers["etag"]})
    return "" if again.status_code == 304 else "its ETag does not hold"


def _note_counters(redis: Redis, history: History, listed: int) -> None:
    counts: dict[str, int] = {}
    for name, count in redis.hgetall("darkroom:counters").items():
        kind = name.decode().split("|")[0]
        counts[kind] = counts.get(kind, 0) + int(count)
    strangers = sum(line.get("fault") == "stranger in the queue" for line in history.lines)
    kinds = ("submitted", "finished", "reaped", "released", "fenced")
    counted = {kind: counts.get(kind, 0) for kind in kinds}
    if strangers:  # what is no job of Darkroom's may be counted as failed
        counted["finished"] = min(counted["finished"], counted["submitted"])
    history.note("counters", listed=listed, **counted)


def _note_keys(redis: Redis, history: History) -> None:
    """Engines let go of what ended a moment later: look again before anything is told."""
    end = time.monotonic() + 10
    while left := _left(redis):
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    for what in left:
        history.note("left", what=what)
    history.note("keys", count=redis.dbsize())


def _left(redis: Redis) -> list[str]:
    found = []
    for pattern in EMPTY_IN_THE_END:
        for key in redis.scan_iter(pattern, count=1000):
            kind = redis.type(key).decode()
            sizes = {"list": redis.llen, "zset": redis.zcard, "set": redis.scard}
            found.append(f"{key.decode()}: {sizes.get(kind, redis.hlen)(key)}")
    return found


def _note_files(house: House, history: History) -> None:
    """Before the keeper's sweep, and after it."""
    store = ImageStore(house.on_disk("store"))
    kept = {
        image["id"]
        for line in history.lines
        if line["kind"] == "end"
        for image in line["body"]["images"]
    }
    orphans = len(set(store.image_ids()) - kept)
    keeper.ORPHAN_AGE_S, age = 0.0, keeper.ORPHAN_AGE_S
    try:
        tidying = keeper.Keeper(Queue(house.redis), store, 86400)
        for _ in range(2):  # an orphan is seen twice before it goes
            tidying.tidy()
    finally:
        keeper.ORPHAN_AGE_S = age
    parts = [str(path.name) for path in house.on_disk("store").rglob("*.tmp")]
    history.note("files", orphans=orphans, kept=len(kept))
    for what in {*parts, *(set(store.image_ids()) - kept)}:
        history.note("left", what=f"file {what}")
    for image in kept - set(store.image_ids()):
        history.note("left", what=f"a job without its picture {image}")
