"""What clients ask of the queue, by owner; the rest is in test_queue.py."""

import pytest
from redis import Redis

from darkroom.errors import JobNotFoundError
from darkroom.job import JobStatus
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
