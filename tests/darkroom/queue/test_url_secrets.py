"""The secrets of signed addresses: one set for all, replaced when what they signed has expired."""

from datetime import timedelta
from urllib.parse import parse_qsl

from redis import Redis

from darkroom.api_keys import USUAL_SCOPES, new_key
from darkroom.queue.api_keys import put
from darkroom.queue.queue import Queue
from darkroom.queue.url_secrets import REPLACED_AFTER_S, signed_paths, url_secrets
from darkroom.signing import fits, read


def test_all_have_the_same_secrets(redis: Redis) -> None:
    first = Queue(redis).carry_out(url_secrets())
    assert Queue(redis).carry_out(url_secrets()) == first
    assert len({first.current, first.earlier}) == 2
    assert len(first.current) == len(first.earlier) == 64


def test_a_secret_is_replaced_and_is_good_for_as_long_again(redis: Redis) -> None:
    queue = Queue(redis)
    first = queue.carry_out(url_secrets())
    redis.hincrbyfloat("darkroom:url_secrets", "since", -REPLACED_AFTER_S - 1)
    second = queue.carry_out(url_secrets())
    assert second.earlier == first.current
    assert second.current not in (first.current, first.earlier)
    assert queue.carry_out(url_secrets()) == second


def test_a_full_redis_replaces_them_as_well(redis: Redis) -> None:
    redis.set("stuffing", b"x" * 2**20)
    redis.config_set("maxmemory", 2**20)
    assert Queue(redis).carry_out(url_secrets()).current


def test_paths_are_signed_by_a_key_that_is_kept_and_by_no_other(redis: Redis) -> None:
    queue, path = Queue(redis), f"/api/v1/images/img_{'0' * 32}"
    key, _ = new_key("ann", USUAL_SCOPES, timedelta(seconds=30))
    queue.carry_out(put(key))
    url = queue.carry_out(signed_paths([path], key.id, 3600))[path]
    signed = read(path, dict(parse_qsl(url.partition("?")[2])))
    assert signed is not None
    assert fits(signed, key.digest, queue.carry_out(url_secrets()))
    assert signed.expires <= key.created_at.timestamp() + 30
    for other in ("", "0" * 16):
        assert queue.carry_out(signed_paths([path], other, 3600)) == {}
