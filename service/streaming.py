"""Waiting for a job to change, without a thread per waiter; in the service only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from darkroom.errors import ExpiredError, JobNotFoundError, QueueUnavailableError
from darkroom.events import Ended, Interrupted, kind_of
from darkroom.job import Job
from darkroom.queue.events import Event, Watch
from service.access import Jobs

PING_EVERY_S = 15.0
COME_BACK_MS = 3000
"""When the reader of a stream that ended early should try again."""


async def wait_for(
    jobs: Jobs, job_id: str, timeout_s: float, enough: Callable[[Job], bool] | None = None
) -> Job:
    """The job as soon as it has ended or is `enough`, or as it is after `timeout_s`.

    Raises JobNotFoundError, ExpiredError, QueueUnavailableError."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + timeout_s
    async with jobs.watch(job_id, until_end=enough is None) as watch:
        while True:
            job = await jobs.watched(watch)
            left = give_up - loop.time()
            if job.status.terminal or (enough and enough(job)) or left <= 0 or jobs.feed.closing:
                return job
            await watch.changed(left)


async def wait_for_end(jobs: Jobs, job: Job, timeout_s: float) -> Job:
    """An accepted job when it has ended, or as it is after `timeout_s`; while Redis is away as it
    was given: it is accepted, nothing may fail any more."""
    try:
        return await wait_for(jobs, job.id, timeout_s)
    except QueueUnavailableError:
        return job


async def event_stream(jobs: Jobs, job: Job, after: str | None) -> AsyncIterator[bytes]:
    """The job's events after the id `after` as server-sent events, until it is done or gone. A
    stream that must end before says so: the client comes back with `Last-Event-ID`."""
    try:
        async with jobs.watch(job.id) as watch:
            over = False
            while not jobs.feed.closing:
                events = await watch.history(after)
                for event in events:
                    after = event.id
                    data = (
                        event.data if event.kind != "done" else await _with_job(jobs, watch, event)
                    )
                    yield format_sse_event(event=event.kind, data_str=data, id=event.id)
                if over or (events and events[-1].kind == "done"):
                    return
                if not events:  # it may have ended since, or be deleted: then look once more
                    over = not await _goes_on(jobs, watch)
                if not over and not await watch.changed(PING_EVERY_S):
                    yield KEEPALIVE_COMMENT
        yield interruption("shutting_down", "The service is shutting down.")
    except QueueUnavailableError as error:
        yield interruption(error.code, "The queue cannot be reached.")


def interruption(code: str, reason: str) -> bytes:
    """The last event of a stream that ends before its job does."""
    why = Interrupted(code=code, message=f"{reason} The job goes on: follow it again.")
    return format_sse_event(event=kind_of(why), data_str=why.model_dump_json(), retry=COME_BACK_MS)


async def _with_job(jobs: Jobs, watch: Watch, event: Event) -> str:
    """What `done` tells, and the job."""
    ended = Ended.model_validate_json(event.data)
    with suppress(JobNotFoundError, ExpiredError):
        ended = ended.model_copy(update={"job": await jobs.watched(watch)})
    return ended.model_dump_json(by_alias=True)


async def _goes_on(jobs: Jobs, watch: Watch) -> bool:
    try:
        return not (await jobs.watched(watch)).status.terminal
    except (JobNotFoundError, ExpiredError):
        return False
