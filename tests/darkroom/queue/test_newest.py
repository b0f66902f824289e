"""The newest job of a kind that has not ended."""

from redis import Redis

from darkroom.queue.newest import newest
from darkroom.queue.queue import Queue
from tests.begun import begun


def test_what_runs_comes_before_what_waits_and_what_is_newer_before_what_is_older(
    redis: Redis,
) -> None:
    queue = Queue(redis)

    def submitted(owner: str = "ann", tag: str = "t") -> str:
        return queue.submit({}, model="pix", owner=owner, tags=[tag]).job.id

    first, second = submitted(), submitted()
    submitted(tag="other")
    bobs = submitted(owner="bob")
    found = queue.carry_out(newest("ann", "t"))
    assert (found.count, found.job and found.job.id) == (2, second)
    assert begun(queue, queues=["pix.normal"]).job_id == first
    found = queue.carry_out(newest("ann", "t"))
    assert (found.count, found.job and found.job.id) == (2, first)
    queue.cancel(first)
    queue.cancel(second)
    found = queue.carry_out(newest("ann", "t"))
    assert (found.count, found.job) == (0, None)
    assert queue.carry_out(newest("bob", "t")).job.id == bobs
