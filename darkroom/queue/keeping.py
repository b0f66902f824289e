"""What the keeper asks of the queue: deadlines, retention, which pictures are referred to,
dead workers; sends nothing itself.

Each function is an exchange (`exchange.py`).
"""

import secrets
from collections.abc import Collection, Generator
from typing import Any

from darkroom.queue.exchange import Exchange, Question, Send, run, send
from darkroom.queue.job_hash import image_ids, input_ids

BATCH = 100
"""What one call of reap, deadlines or retention handles, so that none holds Redis up for long."""

_SCAN = 500
_QUEUES = "darkroom:queues"
_STORE_MARK = "darkroom:store"
_LOOSE = "darkroom:loose_inputs"


def expire_deadlines() -> Exchange[list[str]]:
    """Cancel queued jobs whose deadline has passed; returns their ids."""
    return [job_id.decode() for job_id in (yield from _repeat("deadlines"))]


def cancel_left() -> Exchange[list[str]]:
    """Cancel jobs whose client went away and did not come again; returns their ids."""
    return [job_id.decode() for job_id in (yield from _repeat("left"))]


def end_abandoned(offered: Collection[str], patience_s: float) -> Exchange[list[str]]:
    """Fail the jobs for models that are not `offered` any more, which have waited so many seconds
    and which no worker serves; returns their ids."""
    names = [name.decode(errors="replace") for name in (yield from send("SMEMBERS", _QUEUES))]
    ended: list[bytes] = []
    for name in sorted(names):
        if name.rpartition(".")[0] not in offered:
            ended += yield from run("abandoned", name, patience_s)
    return [job_id.decode(errors="replace") for job_id in ended]


def sweep_retention() -> Exchange[dict[str, list[str]]]:
    """Forget ended jobs whose retention has passed; returns the ids of their images, by job."""
    flat = yield from _repeat("retention", width=2)
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {job_id.decode(): image_ids(images) for job_id, images in pairs}


def forget_silent_workers() -> Exchange[int]:
    """Take workers that died without a word off RQ's lists; returns how many."""
    forgotten: int = yield from run("silent")
    return forgotten


def kept_images() -> Exchange[set[str]]:
    """Ids of the images of all jobs there are."""
    rows = yield from _of_all_jobs("dr_images")
    return {found for records in rows for found in image_ids(records)}


def kept_inputs() -> Exchange[set[str]]:
    """Ids of the input pictures of all jobs there are, and of all files."""
    files = yield from send("ZRANGE", "darkroom:all_files", 0, -1)
    rows = yield from _of_all_jobs("data")
    return {found for data in (*files, *rows) for found in input_ids(data)}


def loose_inputs() -> Exchange[set[str]]:
    """Ids of input pictures that something let go of: perhaps nobody has them now."""
    return {each.decode() for each in (yield from send("SMEMBERS", _LOOSE))}


def forget_loose(ids: Collection[str]) -> Exchange[None]:
    """These are gone, or somebody has them."""
    if ids:
        yield from send("SREM", _LOOSE, *ids)


def store_mark() -> Exchange[str | None]:
    """What the image store of these jobs is marked with; None if there is no mark yet."""
    mark = yield from send("GET", _STORE_MARK)
    return mark.decode() if mark else None


def new_store_mark() -> Exchange[str]:
    """The mark of the store, drawn now if there is none yet."""
    yield from send("SET", _STORE_MARK, secrets.token_hex(16), "NX")
    return (yield from store_mark()) or ""


def _repeat(script: str, width: int = 1) -> Exchange[list[bytes]]:
    """The answers, of `width` parts each, of a script that handles a batch at a time."""
    found: list[bytes] = []
    while True:
        rows = yield from run(script)
        found += rows
        if len(rows) < BATCH * width:
            return found


def _of_all_jobs(field: str) -> Generator[Question, Any, list[bytes]]:
    """One field of all jobs that have it."""
    job_ids = yield from send("ZRANGE", "darkroom:jobs", 0, -1)
    found: list[bytes] = []
    for start in range(0, len(job_ids), _SCAN):
        names = [f"rq:job:{job_id.decode()}" for job_id in job_ids[start : start + _SCAN]]
        rows = yield Send(tuple(("HGET", name, field) for name in names))
        found += filter(None, rows)
    return found
