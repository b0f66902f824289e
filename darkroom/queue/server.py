"""A Redis or Valkey server by itself: whether it answers and how it is set up; asked by the command
line, knows no jobs.

All but `answers` raise QueueUnavailableError with the server's or the system's own words.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from darkroom.errors import QueueUnavailableError
from darkroom.queue.connection import connect, words


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself, by the names of INFO."""

    server: dict[str, Any]
    memory: dict[str, Any]
    persistence: dict[str, Any]
    appendfsync: str
    """As CONFIG has it; "not shown" where that is refused, as by managed servers."""


def answers(url: str) -> bool:
    """Whether the server takes commands, asked once and for 2 s at most."""
    try:
        with _connect_once(url) as redis:
            return bool(redis.ping())
    except (RedisError, ValueError):
        return False


def without_password(url: str) -> str:
    """An address that may be shown."""
    return re.sub(r"(?<=://)[^@/]*@", "...@", url)


def require_answer(url: str) -> None:
    """Raises QueueUnavailableError, within some 2 s, unless a server takes commands there or will
    once it has read its file."""
    with _faults(), _connect_once(url) as redis, suppress(BusyLoadingError):
        redis.ping()


def shut_down(url: str) -> None:
    """End the server; it writes out its file first."""
    with _faults(), _connect_once(url) as redis:
        redis.shutdown()


def read_facts(url: str) -> ServerFacts:
    with _faults(), connect(url) as redis:
        return ServerFacts(
            redis.info("server"),
            redis.info("memory"),
            redis.info("persistence"),
            _appendfsync(redis),
        )


def try_writing(url: str) -> None:
    """Write something small and remove it again."""
    with _faults(), connect(url) as redis:
        redis.set("darkroom:doctor", "1", ex=10)
        redis.delete("darkroom:doctor")


def _appendfsync(redis: Redis) -> str:
    try:
        options = cast("dict[str, str]", redis.config_get("appendfsync"))
    except RedisError:
        return "not shown"
    return options.get("appendfsync", "unknown")


def _connect_once(url: str) -> Redis:
    return Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    )


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise QueueUnavailableError(words(error)) from error
