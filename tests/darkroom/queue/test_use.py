"""What owners use of that of which keys may have so much; the rest is in test_gpu_budget.py."""

from redis import Redis

from darkroom.queue.queue import Queue, queue_names
from darkroom.queue.use import use
from tests.begun import begun


def test_what_waits_and_what_runs_is_counted(redis: Redis) -> None:
    queue = Queue(redis)
    ids = [queue.submit({}, model="m", owner="ann", work_s=10.0).job.id for _ in range(4)]
    begun(queue, queues=queue_names(["m"]))
    queue.cancel(ids[-1])
    redis.hset(f"rq:job:{ids[-2]}", "status", "canceled")  # by RQ's own tools
    found = queue.carry_out(use("ann"))
    assert (found.active, found.queued, found.gpu_seconds) == (2, 1, 30.0)
    assert 0 < found.day_ends_s <= 86_400
    assert queue.carry_out(use("bob")).active == 0
