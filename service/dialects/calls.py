"""Calls: requests of compatible APIs that are answered when their job has ended; in the service,
knows no dialect."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from anyio import CancelScope
from fastapi import Request, Response
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from darkroom.errors import BusyError, DarkroomError, QueueUnavailableError
from darkroom.job import Job
from darkroom.queue.calls import answered, cut_off, left
from darkroom.queue.exchange import Exchange
from darkroom.queue.jobs import Submitted
from service.access import Jobs
from service.departure import unless_gone
from service.errors import Fault, answer, fault_of
from service.streaming import wait_for

T = TypeVar("T")

JOB_HEADER = "X-Darkroom-Job-Id"
"""Names the job, so that who lost the answer finds it."""
ASK_AGAIN_S = 1.0
"""Between two looks for a job while Redis is away."""


def is_repeat(headers: Headers) -> bool:
    """Whether a client says that it sends a request again (SDKs made by Stainless)."""
    count = headers.get("x-stainless-retry-count", "0")
    return count.isascii() and count.isdigit() and len(count) < 4 and int(count) > 0


def headers_of(submitted: Submitted) -> dict[str, str]:
    """Of the answer to a call that succeeded."""
    headers = {
        JOB_HEADER: submitted.job.id,
        "Cache-Control": "private, no-store",
        "X-Accel-Buffering": "no",
    }
    return headers | ({"Idempotency-Replayed": "true"} if submitted.replayed else {})


async def end_of(http: Request, jobs: Jobs, job: Job) -> Job:
    """The job of a call when it has ended, however long that takes. A client that leaves meanwhile
    gives it up, so that it is canceled soon; whatever else goes wrong here, the job goes on and the
    client may come again.

    Raises ClientDisconnect, BusyError when the service stops, and JobNotFoundError, ExpiredError,
    UnauthenticatedError."""
    try:
        return await unless_gone(http, wait_to_end(jobs, job))
    except ClientDisconnect:
        await gone(jobs, job)
        raise
    except DarkroomError:
        await note(jobs, cut_off, job)
        raise


async def answer_of(
    http: Request, jobs: Jobs, job: Job, write: Callable[[Job], Awaitable[Response]]
) -> Response:
    """The answer to a call, which `write` makes of its job when that has ended; may raise
    DarkroomError. Raises ClientDisconnect."""
    try:
        response = await write(await end_of(http, jobs, job))
    except DarkroomError as error:
        await note(jobs, cut_off, job)
        return answer(http, about(fault_of(error), job, is_final=False))
    response.background = BackgroundTask(note, jobs, answered, job)
    return response


async def wait_to_end(jobs: Jobs, job: Job) -> Job:
    """The job when it has ended; Redis may go away and come back. Raises BusyError when the service
    stops, JobNotFoundError, ExpiredError, UnauthenticatedError."""
    while not jobs.feed.closing:
        try:
            job = await wait_for(jobs, job.id, math.inf)
        except QueueUnavailableError:
            await asyncio.sleep(ASK_AGAIN_S)
        if job.status.terminal:
            return job
    raise BusyError("The service stops. The job goes on: send the request again soon.")


async def until_end(
    jobs: Jobs, job: Job, meanwhile: AsyncGenerator[T | None, None]
) -> AsyncGenerator[Job | T | None, None]:
    """What comes `meanwhile`, which is closed then, and the job when it has ended. Raises what
    `wait_to_end` and `meanwhile` do."""
    ended = asyncio.ensure_future(wait_to_end(jobs, job))
    tasks: set[asyncio.Future[Any]] = {ended}
    try:
        while not ended.done():
            coming = asyncio.ensure_future(anext(meanwhile, None))
            tasks = {ended, coming}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                yield coming.result()
        yield ended.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await meanwhile.aclose()


async def note(jobs: Jobs, call_ended: Callable[[str], Exchange[None]], job: Job) -> None:
    """Note what became of a call: `answered` and the like. While Redis is away nobody can, and the
    call counts as one that waits."""
    with suppress(QueueUnavailableError), CancelScope(shield=True):
        await jobs.client.carry_out(call_ended(job.id))


async def gone(jobs: Jobs, job: Job) -> None:
    """The client of a call is gone; while the service stops, that is not its own doing."""
    await note(jobs, cut_off if jobs.feed.closing else left, job)


def about(fault: Fault, job: Job, *, is_final: bool) -> Fault:
    """A fault that names the job. `is_final`: sent again, the request would fail again, or make
    another job."""
    headers = {JOB_HEADER: job.id} | ({"X-Should-Retry": "false"} if is_final else {})
    return replace(fault, headers={**fault.headers, **headers})
