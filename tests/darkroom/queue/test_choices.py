"""What owners chose, each for themselves."""

from redis import Redis

from darkroom.queue import erasure
from darkroom.queue.choices import KEPT_S, choices, choose
from darkroom.queue.queue import Queue


def test_each_owner_has_their_own_until_they_take_them_back(redis: Redis) -> None:
    queue = Queue(redis)
    queue.carry_out(choose("ann", {"model": "pix", "format": "webp"}))
    queue.carry_out(choose("bob", {"model": "other"}))
    queue.carry_out(choose("ann", {"format": ""}))
    queue.carry_out(choose("ann", {}))
    assert queue.carry_out(choices("ann")) == {"model": "pix"}
    assert queue.carry_out(choices("bob")) == {"model": "other"}


def test_they_go_when_nobody_asks_for_long_and_with_all_else_that_is_theirs(redis: Redis) -> None:
    queue = Queue(redis)
    queue.carry_out(choose("ann", {"model": "pix"}))
    redis.expire("darkroom:choices:ann", 5)
    queue.carry_out(choices("ann"))
    assert redis.ttl("darkroom:choices:ann") > KEPT_S - 60
    queue.carry_out(erasure.end(queue.carry_out(erasure.begin("ann"))))
    assert queue.carry_out(choices("ann")) == {}
