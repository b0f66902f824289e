import time
from collections.abc import Iterator
from hashlib import sha1

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError
from redis.retry import Retry

from darkroom.command.valkey import RedisServer
from tests.chaos.proxy import Link, Proxy

ADD = "return redis.call('INCR', KEYS[1])"


pytestmark = pytest.mark.usefixtures("redis")


@pytest.fixture
def link(valkey: RedisServer) -> Iterator[Link]:
    with Proxy(lambda: valkey.url, {sha1(ADD.encode()).hexdigest(): "add"}) as proxy:
        yield proxy.link("client")


def client(link: Link, timeout_s: float = 5.0) -> Redis:
    return Redis.from_url(link.url, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))


def test_a_link_passes_everything_on(link: Link) -> None:
    with client(link) as redis:
        redis.set("a", "x" * 300_000)
        assert len(redis.get("a")) == 300_000


def test_a_slow_link_delays_each_round_trip_and_not_each_command(link: Link) -> None:
    with client(link) as redis:
        redis.ping()
        link.slow(0.2)
        began = time.monotonic()
        with redis.pipeline(transaction=False) as pipe:
            for _ in range(50):
                pipe.incr("n")
            pipe.execute()
        assert 0.2 <= time.monotonic() - began < 5


def test_a_cut_link_breaks_connections_and_makes_none(link: Link) -> None:
    with client(link) as redis:
        redis.ping()
        link.cut()
        for _ in range(2):
            with pytest.raises(ConnectionError):
                redis.ping()
        link.mend()
        assert redis.ping()


def test_a_link_that_swallows_says_nothing_until_it_is_mended(link: Link, redis: Redis) -> None:
    with client(link, timeout_s=0.1) as through:
        through.ping()
        link.swallow()
        with pytest.raises(TimeoutError):
            through.set("a", 1)
        link.mend()
        assert through.ping()
    assert redis.get("a") is None


def test_the_reply_to_one_script_is_lost_after_it_ran(link: Link) -> None:
    with client(link) as through:
        add = through.register_script(ADD)
        add(keys=["n"])
        link.lose_reply("add")
        assert through.ping()
        with pytest.raises(ConnectionError):
            add(keys=["n"])
        assert add(keys=["n"]) == 3
    assert link.replies_lost == 1


def test_links_fail_each_by_itself(valkey: RedisServer) -> None:
    with Proxy(lambda: valkey.url) as proxy:
        one, other = proxy.link("one"), proxy.link("other")
        one.cut()
        with client(other) as through:
            assert through.ping()
