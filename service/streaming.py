"""Waiting for a job to change, without a thread per waiter; in the service only."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from darkroom.errors import (
    ExpiredError,
    JobNotFoundError,
    QueueUnavailableError,
    UnauthenticatedError,
)
from darkroom.events import Ended, Interrupted, Missed, kind_of
from darkroom.job import Job
from darkroom.queue.event_log import Event, Place
from darkroom.queue.events import Watch
from service.access import Jobs

PING_EVERY_S = 15.0
STREAM_HEADERS = {"Cache-Control": "private, no-store", "X-Accel-Buffering": "no"}
COME_BACK_MS = 3000
"""When the reader of a stream that ended early should try again."""


async def wait_for(
    jobs: Jobs, job_id: str, timeout_s: float, enough: Callable[[Job], bool] | None = None
) -> Job:
    """The job as soon as it has ended or is `enough`, or as it is after `timeout_s`.

    Raises JobNotFoundError, ExpiredError, QueueUnavailableError, UnauthenticatedError."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + timeout_s
    async with jobs.watch(job_id, until_end=enough is None) as watch:
        try:
            while True:
                job = await jobs.watched(watch)
                left = give_up - loop.time()
                is_enough = job.status.terminal or bool(enough and enough(job))
                if is_enough or left <= 0 or jobs.feed.closing:
                    return job
                await jobs.changed(watch, left)
        except asyncio.CancelledError:
            # A look that Redis gets after it was told that the client left would keep the job.
            await watch.at_rest()
            raise


async def wait_for_end(jobs: Jobs, job: Job, timeout_s: float) -> Job:
    """An accepted job when it has ended, or as it is after `timeout_s`; as it was given while Redis
    is away, or once the key of who asks is not valid any more: it is accepted, nothing may fail."""
    try:
        return await wait_for(jobs, job.id, timeout_s)
    except (QueueUnavailableError, UnauthenticatedError):
        return job


async def event_stream(jobs: Jobs, job: Job, after: str | None) -> AsyncIterator[bytes]:
    """The job's events after the id `after` as server-sent events, until it is done or gone. A
    stream that must end before says so: the client comes back with `Last-Event-ID`."""
    try:
        async with jobs.watch(job.id) as watch:
            over = False
            while not jobs.feed.closing:
                await jobs.asker.left_s()
                events = await watch.history(after)
                for event in events:
                    after = event.id
                    yield await _told(event, partial(jobs.watched, watch))
                if over or (events and events[-1].kind == "done"):
                    return
                if not events:  # it may have ended since, or be deleted: then look once more
                    over = not await _goes_on(jobs, watch)
                if not over and not await jobs.changed(watch, PING_EVERY_S):
                    yield KEEPALIVE_COMMENT
        yield interruption("shutting_down", "The service is shutting down.")
    except (QueueUnavailableError, UnauthenticatedError) as error:
        yield _end(error)


async def all_events(jobs: Jobs, owner: str | None, place: Place) -> AsyncIterator[bytes]:
    """The events behind `place` of all jobs of `owner`, which `Jobs.whose` has told, as server-sent
    events. It begins with an id alone, so that who loses it before the first event can come back
    as well, and goes on until it must end, which it says."""
    after = place.after
    yield _beginning(place)
    try:
        async with jobs.feed.watch_all(owner) as watch:
            while not jobs.feed.closing:
                await jobs.asker.left_s()
                events = await watch.history(after)
                for event in events:
                    after = event.id
                    yield await _told(event, partial(jobs.ended, watch, event.job_id or ""))
                if not events and not await jobs.changed(watch, PING_EVERY_S):
                    yield KEEPALIVE_COMMENT
        yield interruption("shutting_down", "The service is shutting down.")
    except (QueueUnavailableError, UnauthenticatedError) as error:
        yield _end(error)


def interruption(code: str, reason: str) -> bytes:
    """The last event of a stream that ends before what it tells of does."""
    why = Interrupted(code=code, message=f"{reason} Jobs go on: follow them again.")
    return format_sse_event(event=kind_of(why), data_str=why.model_dump_json(), retry=COME_BACK_MS)


def _end(error: QueueUnavailableError | UnauthenticatedError) -> bytes:
    """The last event of a stream that an error ends."""
    if isinstance(error, QueueUnavailableError):
        return interruption(error.code, "The queue cannot be reached.")
    why = Interrupted(code=error.code, message=str(error), retryable=False)
    return format_sse_event(event=kind_of(why), data_str=why.model_dump_json())


def _beginning(place: Place) -> bytes:
    if not place.has_gap:
        return format_sse_event(id=place.after)
    gap = Missed(message="Events may be lost that came after the last one you had: list the jobs.")
    return format_sse_event(event=kind_of(gap), data_str=gap.model_dump_json(), id=place.after)


async def _told(event: Event, ended: Callable[[], Awaitable[Job]]) -> bytes:
    """An event as it is sent. `done` holds the job besides, if it is still there; events of streams
    of several jobs say whose they are."""
    data = event.data
    if event.kind == "done":
        told = Ended.model_validate_json(data)
        with suppress(JobNotFoundError, ExpiredError):
            told = told.model_copy(update={"job": await ended()})
        data = told.model_dump_json(by_alias=True)
    if event.job_id is not None:
        data = f'{{"job_id":{json.dumps(event.job_id)},{data.removeprefix("{")}'
    return format_sse_event(event=event.kind, data_str=data, id=event.id)


async def _goes_on(jobs: Jobs, watch: Watch) -> bool:
    try:
        return not (await jobs.watched(watch)).status.terminal
    except (JobNotFoundError, ExpiredError):
        return False
