"""What clients ask of the queue, by owner; the rest is in test_queue.py."""

import pytest
from redis import Redis

from darkroom.errors import (
    IdempotencyMismatchError,
    JobNotFoundError,
    QueueFullError,
    TooManyActiveJobsError,
)
from darkroom.job import JobStatus
from darkroom.job_options import JobMarks
from darkroom.queue import jobs
from darkroom.queue.accepting import Terms
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def test_jobs_of_other_owners_are_as_if_they_were_not_there(queue: Queue) -> None:
    ann, bob = (queue.submit({}, model="pix", owner=owner).job.id for owner in ("ann", "bob"))
    for ask in (queue.fetch, queue.cancel, queue.delete):
        with pytest.raises(JobNotFoundError):
            ask(ann, owner="bob")
    assert queue.fetch(ann, owner="ann").status is JobStatus.QUEUED
    assert [job.id for job in queue.page(owner="bob").jobs] == [bob]
    assert queue.page(owner="").jobs == []
    assert [job.id for job in queue.page().jobs] == [bob, ann]


def test_an_owner_has_every_right_to_a_job(queue: Queue) -> None:
    ann = queue.submit({}, model="pix", owner="ann").job.id
    assert queue.cancel(ann, owner="ann").status is JobStatus.CANCELED
    assert queue.delete(ann, owner="ann") == []
    with pytest.raises(JobNotFoundError):
        queue.fetch(ann)


def test_asking_tells_what_would_come_of_a_job_and_accepts_none(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_queued=2))

    def ask(key: str | None = None, **more: object) -> jobs.Submitted | None:
        return queue.carry_out(
            jobs.ask(Terms(idempotency_key=key, fingerprint="f", owner="ann", **more))
        )

    assert ask() is ask("k") is None
    known = {"model": "m", "owner": "ann", "idempotency_key": "k"}
    job = queue.submit({}, fingerprint="f", **known).job
    assert ask("k") == jobs.Submitted(job, replayed=True)
    with pytest.raises(TooManyActiveJobsError):
        ask(max_active=1)
    assert ask() is None
    assert len(queue.page().jobs) == 1
    queue.submit({}, model="m")
    with pytest.raises(QueueFullError):
        ask()
    assert ask("k") is not None
    with pytest.raises(IdempotencyMismatchError):
        queue.carry_out(jobs.ask(Terms(idempotency_key="k", fingerprint="g", owner="ann")))


@pytest.mark.parametrize("others", [JobMarks(tags=["b"]), JobMarks(starred=True)])
def test_marks_are_written_on_what_was_seen_alone(queue: Queue, others: JobMarks) -> None:
    seen = queue.submit({}, model="pix", tags=["ä"]).job
    mine = JobMarks(tags=["c"])
    marked = queue.mark(seen.id, others, seen=seen)
    assert queue.mark(seen.id, mine, seen=seen) is None
    assert queue.fetch(seen.id) == marked
    assert queue.mark(seen.id, mine, seen=marked).tags == ["c"]
    assert queue.mark(seen.id, JobMarks(tags=[])).tags == []
