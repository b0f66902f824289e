"""The requests of a key, by Redis's clock, which cannot be moved: what was noted of it is."""

import pytest
from redis import Redis

from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.request_rates import Rate, take_request

BUCKET = "darkroom:requests:web"


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis, scripts(PLAIN_RULES))


def take(client: Client, per_minute: int = 60) -> Rate:
    return client.carry_out(take_request("web", per_minute))


def pass_time(redis: Redis, seconds: float) -> None:
    redis.hset(BUCKET, "at", float(redis.hget(BUCKET, "at")) - seconds)


def test_all_may_come_at_once_and_come_back_evenly(client: Client, redis: Redis) -> None:
    taken = [take(client, 6) for _ in range(7)]
    assert [rate.taken for rate in taken] == [True] * 6 + [False]
    assert [rate.left for rate in taken] == [5, 4, 3, 2, 1, 0, 0]
    assert taken[0].full_s == 10
    assert taken[-1].full_s == 60
    assert taken[-1].retry_s in (9, 10)
    pass_time(redis, 5)
    assert not take(client, 6).taken
    pass_time(redis, 5)
    assert take(client, 6).taken
    assert not take(client, 6).taken
    pass_time(redis, 3600)
    assert [take(client, 6).taken for _ in range(7)] == [True] * 6 + [False]


def test_who_comes_at_the_time_that_was_told_gets_one(client: Client, redis: Redis) -> None:
    for per_minute in (1, 7, 60, 1_000_000):
        redis.delete(BUCKET)
        take(client, per_minute)
        redis.hset(BUCKET, "left", 0)
        refused = take(client, per_minute)
        if refused.taken:  # a million a minute comes back faster than it is asked for
            continue
        assert refused.retry_s >= 1
        pass_time(redis, refused.retry_s)
        assert take(client, per_minute).taken


def test_a_lower_limit_holds_at_once(client: Client) -> None:
    assert take(client, 100).left == 99
    assert take(client, 2).left == 1


def test_a_clock_put_back_locks_nobody_out(client: Client, redis: Redis) -> None:
    for _ in range(2):
        take(client, 2)
    pass_time(redis, -86400)
    assert not take(client, 2).taken
    pass_time(redis, 31)
    assert take(client, 2).taken


def test_what_is_full_again_is_forgotten(client: Client, redis: Redis) -> None:
    take(client)
    assert 60 <= redis.ttl(BUCKET) <= 61


def test_a_full_redis_lets_keys_ask(client: Client, redis: Redis) -> None:
    redis.config_set("maxmemory", 1)
    try:
        assert take(client).taken
    finally:
        redis.config_set("maxmemory", 0)
