"""What a key may have only so much of in a time, as its answers tell it in their heads; in the
service only.

`RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-11 has them: `default`
are requests, `gpu` seconds of work on devices.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

from darkroom.api_keys import Limits
from darkroom.errors import (
    FieldError,
    InvalidRequestError,
    QueueUnavailableError,
    RateLimitedError,
)
from darkroom.queue.request_rates import Rate
from darkroom.queue.use import Use

POLICY = "RateLimit-Policy"
LEFT = "RateLimit"
DAY_S = 86_400
LOOK_S = 1.0


def require(rate: Rate | None) -> None:
    """Raises RateLimitedError if there was no request left."""
    if rate and not rate.taken:
        detail = f"This API key may make {rate.per_minute} requests a minute."
        raise RateLimitedError(detail, rate.retry_s)


def require_budget(limits: Limits, work_s: float) -> None:
    """Raises InvalidRequestError for a job that no day has enough for."""
    most = limits.gpu_seconds_per_day
    if most is not None and work_s > most:
        detail = (
            f"This takes about {work_s:.0f} GPU seconds, and this API key may take {most} a day: "
            "ask for fewer steps, fewer pictures or smaller ones."
        )
        raise InvalidRequestError([FieldError("", detail, "too_much_work")])


def note(scope: Scope, rate: Rate) -> None:
    """What the answer is to tell, should that not change before it is sent."""
    scope["rate"] = rate


def telling(send: Send, scope: Scope, limits: Limits, look: Callable[[], Awaitable[Use]]) -> Send:
    """Sends an answer whose head tells what is left: of requests as it was noted last, of GPU
    seconds as `look` says when it begins."""
    budget = limits.gpu_seconds_per_day
    if "rate" not in scope and budget is None:
        return send

    async def send_with_rates(message: Message) -> None:
        if message["type"] == "http.response.start":
            rate: Rate | None = scope.get("rate")
            policies, lefts = [], []
            if rate:
                policies.append(f'"default";q={rate.per_minute};w=60')
                lefts.append(f'"default";r={rate.left};t={rate.full_s}')
            if budget is not None and (used := await _unless_away(look)):
                left = max(int(budget - used.gpu_seconds), 0)
                policies.append(f'"gpu";q={budget};qu="gpu-seconds";w={DAY_S}')
                lefts.append(f'"gpu";r={left};t={used.day_ends_s}')
            if policies:
                headers = MutableHeaders(raw=message["headers"])
                headers[POLICY], headers[LEFT] = ", ".join(policies), ", ".join(lefts)
        await send(message)

    return send_with_rates


async def _unless_away(look: Callable[[], Awaitable[Use]]) -> Use | None:
    """What is told need not be known for an answer, nor is it waited for."""
    try:
        async with asyncio.timeout(LOOK_S):
            return await look()
    except (QueueUnavailableError, TimeoutError):
        return None
