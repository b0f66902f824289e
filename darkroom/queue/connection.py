"""Connections to Redis or Valkey, and the one place where their faults become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis, asyncio
from redis.asyncio import retry as asyncio_retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from darkroom.errors import QueueUnavailableError

SOCKET_TIMEOUT_S = 5.0
"""Longest wait for one reply; a blocking command has to end well before."""

POOL_SIZE = 100
"""Connections of one event loop: a command holds one for as long as Redis takes to answer it."""
POOL_TIMEOUT_S = 30.0
"""Longest wait for one of them. Hundreds of clients on a busy machine may have to; it is while no
connection comes back at all that waiting on is in vain, and each gives up after two timeouts."""
_NONE_FREE = "No connection available."
"""What redis-py says when that wait is over."""

_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": 2.0,
    "health_check_interval": 30,
}
_NUMBER = re.compile(r"^Error (?:\S+ )?(?=connecting to |while )")
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_PAUSES = ExponentialBackoff(cap=0.2, base=0.05)

_REFUSALS = frozenset(
    (
        *("OOM", "LOADING", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY"),
        *("CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"),  # a failover of a server in cluster mode
        *("NOAUTH", "WRONGPASS", "NOPERM"),  # somebody changed the password, or the rights
        "UNBLOCKED",  # a server that is made a replica says so to those who block on its lists
    )
)
"""First words of error replies that tell of the server's state and not of a fault of ours."""
_IN_A_PIPELINE = " of pipeline caused error: "
"""What redis-py writes between the command, with all that is in it, and the reply."""
_IN_A_TRANSACTION = "Transaction discarded because of: "
_IN_A_SCRIPT = re.compile(
    # Redis 6.2 wraps what a script met: "ERR Error running script (...): ...: -OOM command not ..."
    rf" -({'|'.join(sorted(_REFUSALS))}) |ACL failure in script: |Script killed by user"
    "|non local key in a cluster"
)


def connect(url: str, *, longest_s: float = SOCKET_TIMEOUT_S) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`; connects at its first command, and waits
    for one reply for `longest_s` seconds, 5 at most.

    A command whose connection breaks is sent once more: everything that Darkroom sends is safe to
    repeat. The pauses also keep a caller that tries for ever from spinning while Redis is away.
    """
    limits = {name: min(_OPTIONS[name], longest_s) for name in _TIMEOUTS}
    return Redis.from_url(url, retry=Retry(_PAUSES, retries=1), **(_OPTIONS | limits))


def connect_async(url: str, *, size: int = POOL_SIZE, name: str | None = None) -> asyncio.Redis:
    """The same for an event loop, from a pool of `size` connections, of this `name` in the list
    that Redis has of them: who finds all of them in use waits for one, and for `POOL_TIMEOUT_S` at
    most; redis-py's own default would refuse the 101st."""
    pool = asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=size,
        client_name=name,
        timeout=POOL_TIMEOUT_S,
        retry=asyncio_retry.Retry(_PAUSES, retries=1),
        **_OPTIONS,
    )
    return asyncio.Redis.from_pool(pool)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what says that Redis is away, starting, full, read-only or otherwise refuses to serve
    into QueueUnavailableError, wherever it says so: to a command, in a pipeline, a transaction or a
    script.

    Other error replies are bugs of ours and pass unchanged."""
    try:
        yield
    except ResponseError as error:
        word, reply = _reply(error)
        if word not in _REFUSALS and not _IN_A_SCRIPT.search(reply):
            raise
        raise QueueUnavailableError(f"Redis cannot be used: {reply}") from error
    except RedisError as error:
        reason = "all connections to it stay in use" if str(error) == _NONE_FREE else error
        raise QueueUnavailableError(f"Redis cannot be reached: {words(reason)}") from error


def words(error: object) -> str:
    """What redis-py says, without the "Error 111" that it begins with: ours is named already."""
    return _NUMBER.sub("", str(error))


def _reply(error: ResponseError) -> tuple[str, str]:
    """The word that says what was refused, and the reply, without the command that got it."""
    reply = str(error).rpartition(_IN_A_PIPELINE)[2]
    word = error.status_code
    if word == "EXECABORT":
        word, reply = None, reply.removeprefix(_IN_A_TRANSACTION)
    return word or reply.partition(" ")[0], reply
