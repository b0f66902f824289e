"""How many requests a key may make in a minute, counted in Redis for all services together; knows
no HTTP."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from darkroom.queue.exchange import Exchange, run


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a key has left of its requests, after one was asked for."""

    per_minute: int
    taken: bool
    """Whether there was one."""
    left: int
    full_s: int
    """Seconds until all are there again, if none is made; rounded up."""
    retry_s: int
    """Seconds until there is one to take, rounded up."""


def take_request(key_id: str, per_minute: int) -> Exchange[Rate]:
    """Take one of the requests that the key may make in a minute. All may come at once; they come
    back evenly, one in 60 / `per_minute` seconds."""
    return read_rate((yield from run("take_request", key_id, per_minute)), per_minute)


def read_rate(answer: Sequence[Any], per_minute: int, wanted: int = 1) -> Rate:
    """The rate out of what `rate` of the prelude returns, after so many requests were `wanted`."""
    taken, left, full_s = answer
    missing = max(wanted - float(left), 0.0)
    return Rate(
        per_minute=per_minute,
        taken=bool(taken),
        left=int(float(left)) if taken or wanted > 1 else 0,
        full_s=math.ceil(float(full_s)),
        retry_s=max(math.ceil(missing * 60 / per_minute), 0 if taken else 1),
    )
