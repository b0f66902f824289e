"""What the keeper asks of the queue; deadlines and retention are in test_queue.py."""

import pytest
from redis import Redis

from darkroom.job import JobStatus
from darkroom.queue import keeping
from darkroom.queue.queue import Queue


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def test_the_inputs_of_all_jobs_are_known_however_many(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_SCAN", 2)
    ids = [f"file_{index:064x}" for index in range(5)]
    for input_id in ids:
        queue.submit({"image": input_id}, model="pix")
    assert queue.input_ids() == set(ids)
    assert queue.image_ids() == set()


def test_a_store_is_marked_once(queue: Queue, redis: Redis) -> None:
    assert queue.store_mark() is None
    mark = queue.new_store_mark()
    assert mark == queue.new_store_mark() == queue.store_mark()
    redis.flushall()
    assert queue.store_mark() is None


def test_jobs_for_a_model_that_is_gone_fail_once_they_have_waited(
    queue: Queue, redis: Redis
) -> None:
    gone, kept = (queue.submit({"model": name}, model=name).job for name in ("gone", "pix"))
    assert queue.end_abandoned({"pix"}, patience_s=3600) == []
    served = "rq:worker:elsewhere"
    redis.sadd("rq:workers:gone.normal", served)
    redis.hset(served, "name", "elsewhere")
    assert queue.end_abandoned({"pix"}, patience_s=0) == []
    redis.delete(served)
    assert queue.end_abandoned({"pix"}, patience_s=0) == [gone.id]
    ended = queue.fetch(gone.id)
    assert (ended.status, ended.error.code) == (JobStatus.FAILED, "model_not_found")
    assert queue.fetch(kept.id).status is JobStatus.QUEUED
