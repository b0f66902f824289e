"""A Redis whose clock jumps by an hour: Debian's `faketime` gives it one that can."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.job import JobStatus
from darkroom.queue.connection import connect
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Claim, Queue, queue_names

HOUR_S = 3600
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

pytestmark = pytest.mark.skipif(not LIBRARIES, reason="faketime is not installed")


class Clock:
    """How far a clock is off; told to the server in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.put(0)

    def put(self, offset_s: int) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}")
        new.rename(self.file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def redis(state_dir: Path, clock: Clock) -> Iterator[Redis]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(LIBRARIES[0]))
        patch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock.file))
        patch.setenv("FAKETIME_NO_CACHE", "1")
        patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        server = RedisServer(state_dir)
        server.start()
    with connect(server.url) as client:
        yield client
    server.stop()


def claim(queue: Queue, engine: str) -> Claim | None:
    names = queue_names(["pix"])
    held = queue.claim(engine=engine, queues=names, token=engine, min_wait_s=0.001)
    return held and queue.begin(held, "w")


def jump(clock: Clock, redis: Redis, offset_s: int) -> None:
    before = redis.time()[0]
    clock.put(offset_s)
    while abs(redis.time()[0] - before) < HOUR_S / 2:
        pass


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S])
def test_an_hour_changes_nothing(redis: Redis, clock: Clock, offset_s: int) -> None:
    queue = Queue(redis, Rules(lease_s=1))
    queue.submit({}, model="pix")
    queue.submit({}, model="pix")
    while not (held := claim(queue, "living")):
        pass
    assert queue.reap() == 0
    jump(clock, redis, offset_s)

    assert queue.reap() == 0
    while float(redis.hget("darkroom:reaping", "left")):
        assert not queue.beat("living", [held]).lost
        assert queue.reap() == 0
    assert queue.fetch(held.job_id).attempts == 1
    waiting = claim(queue, "dead")
    assert waiting is not None, "it waits for the clock"
    while not queue.reap():  # the one that nobody beats for
        assert not queue.beat("living", [held]).lost
    assert queue.fetch(waiting.job_id).status is JobStatus.QUEUED
    assert queue.finish(held, JobStatus.SUCCEEDED) == "committed"


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S])
def test_leases_of_before_end_in_time(redis: Redis, clock: Clock, offset_s: int) -> None:
    queue = Queue(redis, Rules(lease_s=1))
    queue.submit({}, model="pix")
    while not claim(queue, "dead"):
        pass
    assert queue.reap() == 0
    jump(clock, redis, offset_s)
    while not queue.reap():
        pass
    assert queue.counters()["reaped",] == 1
