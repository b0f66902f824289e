"""One process of the API with 500 event streams and 200 long polls: what it takes of memory and of
Redis, and whether all who follow hear everything once, however often they come back."""

import asyncio
import contextlib
import json
import math
import os
import random
import re
import resource
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis

from darkroom.events import kind_of
from darkroom.job import JobStatus, Progress
from darkroom.queue.event_log import stream_of, stream_of_job
from darkroom.queue.queue import Claim, News, Queue, queue_names
from tests.begun import begun

JOBS, STEPS = 25, 20
OF_ALL, OF_ONE, POLLS = 100, 400, 200
RECONNECTS = 5
"""How often a stream is cut off before its end."""
MOST_CONNECTIONS, MOST_MB = 4, 400


@pytest.fixture
def process(models_toml: Path, valkey, redis: Redis, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process of its own, with a Redis that was emptied."""
    redis.ping()
    environment = os.environ | {
        "DARKROOM_REDIS_URL": valkey.url,
        "DARKROOM_MODELS": str(models_toml),
        "DARKROOM_STATE_DIR": str(tmp_path),
        "DARKROOM_PORT": "0",
        "DARKROOM_SEND_TIMEOUT_S": "3",
    }
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([sys.executable, "-m", "service"], stderr=log, env=environment) as one,
    ):
        yield one
        one.kill()


def port_of(process: subprocess.Popen, tmp_path: Path) -> int:
    """The port, once it listens."""
    while not (found := re.search(r"http://127.0.0.1:(\d+)", (tmp_path / "log").read_text())):
        assert process.poll() is None
    return int(found[1])


class Follower:
    """Follows a path until so many jobs are done, across cuts; notes the id of each event."""

    def __init__(self, port: int, path: str, jobs: int, seed: int) -> None:
        self.port, self.path, self.left = port, path, jobs
        self.ids: list[str] = []
        self.position: str | None = None
        self.cuts = 0
        self.follows = asyncio.Event()
        self._random = random.Random(seed)

    async def follow(self) -> None:
        while self.left:
            may_hear = self._random.randint(1, 12) if self.cuts < RECONNECTS else math.inf
            async with contextlib.aclosing(self._events()) as events:
                async for event_id, kind in events:
                    self.follows.set()
                    self.position = event_id
                    if kind:  # it begins with an id alone
                        self.ids.append(event_id)
                        self.left -= kind == "done"
                        may_hear -= 1
                    if not may_hear or not self.left:
                        break
            self.cuts += bool(self.left)

    async def _events(self) -> AsyncIterator[tuple[str, str]]:
        headers = f"Last-Event-ID: {self.position}\r\n" if self.position else ""
        async with opened(self.port, self.path, headers) as reader:
            event_id = kind = ""
            while line := (await reader.readline()).decode().strip():
                pass  # the head of the answer
            async for raw in reader:
                line = raw.decode().strip()
                name, _, value = line.partition(": ")
                if name == "id":
                    event_id = value
                elif name == "event":
                    kind = value
                elif not line and event_id:
                    yield event_id, kind
                    event_id = kind = ""


@contextlib.asynccontextmanager
async def opened(port: int, path: str, headers: str = "") -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


async def poll(port: int, job: str) -> str:
    """The status of the job once it has ended."""
    while True:
        async with opened(port, f"/api/v1/jobs/{job}?wait=60", "Connection: close\r\n") as reader:
            _, _, body = (await reader.read()).partition(b"\r\n\r\n")
            status: str = json.loads(body)["status"]
            if JobStatus(status).terminal:
                return status


def work(queue: Queue, claims: list[Claim]) -> None:
    """Ends all jobs, as an engine does that runs them together."""
    for step in range(1, STEPS + 1):
        queue.tell(News(each, Progress(stage="denoise", step=step, steps=STEPS)) for each in claims)
    for claim in claims:
        assert queue.finish(claim, JobStatus.SUCCEEDED) == "committed"


def fill(redis: Redis) -> None:
    """Events enough that who reads none of them holds up what they come through."""
    told = Progress(stage="load", detail="x" * 4000)
    with redis.pipeline() as pipe:
        for _ in range(3000):
            entry = {"event": kind_of(told), "data": told.model_dump_json(), "job": "job_0"}
            pipe.xadd(stream_of(None), entry)
        pipe.execute()


def silent(port: int) -> socket.socket:
    """A client that asks for all of them and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /api/v1/events?after=0-0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def was_cut_off(client: socket.socket, patience_s: float = 60) -> bool:
    watched = select.poll()
    watched.register(client, select.POLLERR | select.POLLHUP)
    return bool(watched.poll(1000 * patience_s))


def connections(redis: Redis) -> int:
    """Those to Redis of all who wait; requests have others, as many as come at a time."""
    return sum(each["name"] == "darkroom-events" for each in redis.client_list())


def peak_mb(process: subprocess.Popen) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def ids(redis: Redis, stream: str, after: str = "-") -> list[str]:
    rows = redis.xrange(stream, f"({after}" if after != "-" else after)
    return [event_id.decode() for event_id, _ in rows]


@pytest.fixture
def closing_at_end() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_who_follow_hear_everything_once(
    process: subprocess.Popen, redis: Redis, tmp_path: Path, closing_at_end: contextlib.ExitStack
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    port = port_of(process, tmp_path)
    queue = Queue(redis)
    fill(redis)
    jobs = [queue.submit({}, model="pix").job.id for _ in range(JOBS)]
    claims = [begun(queue, queues=queue_names(["pix"]), token=f"t{i}") for i in range(JOBS)]
    reads_nothing = closing_at_end.enter_context(silent(port))
    began = ids(redis, stream_of(None))[-1]

    async def run() -> tuple[list[Follower], list[str], int]:
        of_all = [Follower(port, "/api/v1/events", JOBS, i) for i in range(OF_ALL)]
        of_one = [Follower(port, path_of(jobs, i), 1, i) for i in range(OF_ONE)]
        followers = of_all + of_one
        following = [asyncio.create_task(each.follow()) for each in followers]
        polling = [asyncio.create_task(poll(port, jobs[i % JOBS])) for i in range(POLLS)]
        for each in followers:
            await each.follows.wait()
        await asyncio.to_thread(work, queue, claims)
        held = connections(redis)
        await asyncio.gather(*following)
        return followers, await asyncio.gather(*polling), max(held, connections(redis))

    followers, ended, held = asyncio.run(run())
    assert ended == ["succeeded"] * POLLS
    expected = {path_of(jobs, i): ids(redis, stream_of_job(jobs[i])) for i in range(JOBS)}
    expected["/api/v1/events"] = ids(redis, stream_of(None), began)
    for each in followers:
        assert each.ids == expected[each.path], each.path
    cuts = sum(each.cuts for each in followers)
    assert cuts > len(followers)
    assert was_cut_off(reads_nothing)
    peak = peak_mb(process)
    print(
        f"{sum(len(each.ids) for each in followers)} events in {len(followers)} streams, {cuts} "
        f"cuts; {held} connections to Redis, {peak:.0f} MiB at most"
    )
    assert held <= MOST_CONNECTIONS
    assert peak <= MOST_MB


def path_of(jobs: list[str], i: int) -> str:
    return f"/api/v1/jobs/{jobs[i % len(jobs)]}/events"
