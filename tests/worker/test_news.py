import json
from collections.abc import Iterator

import pytest
import torch
from redis import Redis

from darkroom.job import JobStatus
from darkroom.queue.lua import Rules
from darkroom.queue.previews import latest
from darkroom.queue.queue import Queue
from tests.worker.test_leases import Threads
from worker.news import Newsroom
from worker.previews import Previews
from worker.running import RunningJob


@pytest.fixture
def threads(redis: Redis) -> Iterator[Threads]:
    all_of_them = Threads(Queue(redis, Rules(lease_s=30)), store=None)
    yield all_of_them
    all_of_them.close()


def progress_of(threads: Threads, job: RunningJob) -> int | None:
    found = threads.jobs.fetch(job.id)
    assert found.status is JobStatus.RUNNING
    return found.progress and found.progress.step


def test_progress_is_told(threads: Threads) -> None:
    threads.submit()
    arrived = threads.next_begun()
    arrived.step(1, 4, None)
    threads.until(lambda: progress_of(threads, arrived) == 1)


def test_all_jobs_are_told_of_in_one_call(threads: Threads, redis: Redis) -> None:
    for _ in range(3):
        threads.submit()
    arrived = [threads.next_begun() for _ in range(3)]
    threads.close()
    for job in arrived:
        job.step(1, 4, None)
    redis.config_resetstat()
    Newsroom(jobs=threads.jobs, held=threads.held)._tell()
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert [progress_of(threads, job) for job in arrived] == [1, 1, 1]


def test_an_early_picture_is_shown_once_it_is_there(threads: Threads) -> None:
    threads.submit()
    arrived = threads.next_begun()
    arrived.previews = Previews(((0.5, 0.0),) * 3, (32, 16), every=1)
    arrived.previews.see(1, 4, lambda: torch.zeros(1, 1, 4, 8))
    threads.until(lambda: threads.jobs.carry_out(latest(arrived.id)) is not None)
    rows = threads.jobs.redis.xrange(f"darkroom:events:{arrived.id}")
    told = [json.loads(row[b"data"]) for _, row in rows if row[b"event"] == b"preview"]
    assert told == [
        {
            "url": f"/api/v1/jobs/{arrived.id}/preview",
            "width": 32,
            "height": 16,
            "step": 1,
            "steps": 4,
        }
    ]


def test_who_is_about_to_end_holds_nobody_up(threads: Threads) -> None:
    for _ in range(2):
        threads.submit()
    ending, other = threads.next_begun(), threads.next_begun()
    threads.until(lambda: len(ending.news) == 0)
    with ending.telling:
        for job in (ending, other):
            job.step(1, 4, None)
        threads.until(lambda: progress_of(threads, other) == 1)
        assert progress_of(threads, ending) == 0
