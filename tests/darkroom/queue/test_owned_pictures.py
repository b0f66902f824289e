"""Whose pictures are: noted where jobs end and are accepted, forgotten where jobs are."""

import pytest
from redis import Redis

from darkroom.errors import QueueFullError
from darkroom.job import ImageRecord, JobStatus
from darkroom.queue.lua import Rules
from darkroom.queue.owned_pictures import has_sent, owns_image
from darkroom.queue.queue import Queue
from tests.begun import begun

INPUT = f"file_{'1' * 64}"


def record(image_id: str) -> ImageRecord:
    return ImageRecord(id=image_id, url=None, width=1, height=1, seed=1, bytes=None, sha256=None)


def test_pictures_are_those_of_who_owns_the_job(redis: Redis) -> None:
    queue = Queue(redis)
    queue.submit({}, model="pix", owner="ann")
    claim = begun(queue, queues=["pix.normal"])
    queue.finish(claim, JobStatus.SUCCEEDED, images=[record("img_1"), record("img_2")])
    owned = {
        (image, owner): queue.carry_out(owns_image(image, owner))
        for image in ("img_1", "img_2", "img_3")
        for owner in ("ann", "bob", "")
    }
    assert [who for who, yes in owned.items() if yes] == [("img_1", "ann"), ("img_2", "ann")]
    queue.forget_images(["img_2", "img_9"])
    queue.forget_images([])
    assert redis.hkeys("darkroom:images") == [b"img_1"]
    queue.delete(claim.job_id)
    assert not redis.exists("darkroom:images")


def test_inputs_are_those_of_who_sent_them(redis: Redis) -> None:
    queue = Queue(redis, Rules(retention_s=10_000))
    redis.zadd("darkroom:inputs:ann", {"file_old": 1})
    queue.submit({"prompt": f"file_{'2' * 64}", "image": INPUT}, model="pix", owner="ann")
    queue.submit({"image": INPUT}, model="pix")
    assert queue.carry_out(has_sent(INPUT, "ann"))
    assert not queue.carry_out(has_sent(INPUT, "bob"))
    assert redis.zrange("darkroom:inputs:ann", 0, -1) == [INPUT.encode()]
    assert 10_000 < redis.ttl("darkroom:inputs:ann") <= 20_000
    assert sorted(redis.keys("darkroom:inputs:*")) == [b"darkroom:inputs:", b"darkroom:inputs:ann"]


def test_a_refused_job_notes_no_input(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_queued=1))
    queue.submit({}, model="pix")
    with pytest.raises(QueueFullError):
        queue.submit({"image": INPUT}, model="pix", owner="ann")
    assert not redis.exists("darkroom:inputs:ann")
