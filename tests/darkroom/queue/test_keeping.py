"""What the keeper asks of the queue; deadlines and retention are in test_queue.py."""

import pytest
from redis import Redis

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
