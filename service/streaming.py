"""Waiting for a job to change, without a thread per waiter; in the service only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from darkroom.errors import ExpiredError, JobNotFoundError, QueueUnavailableError
from darkroom.job import Job
from service.access import Jobs

PING_EVERY_S = 15.0


async def wait_for(jobs: Jobs, job_id: str, enough: Callable[[Job], bool], timeout_s: float) -> Job:
    """The job as soon as it is `enough`, or as it is after `timeout_s`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + timeout_s
    async with jobs.watch(job_id) as watch:
        while True:
            job = await jobs.fetch(job_id)
            left = give_up - loop.time()
            if enough(job) or left <= 0 or jobs.feed.closing:
                return job
            await watch.changed(left)


async def wait_for_end(jobs: Jobs, job: Job, timeout_s: float) -> Job:
    """An accepted job when it has ended, or as it is after `timeout_s`; while Redis is away as it
    was given: it is accepted, nothing may fail any more."""
    try:
        return await wait_for(jobs, job.id, lambda now: now.status.terminal, timeout_s)
    except QueueUnavailableError:
        return job


async def event_stream(jobs: Jobs, job: Job, after: str | None) -> AsyncIterator[bytes]:
    """The job's events after the id `after` as server-sent events, until it is done or gone.

    Ends early when Redis goes away: the client comes back with `Last-Event-ID`."""
    with suppress(QueueUnavailableError):
        async with jobs.watch(job.id) as watch:
            over = False
            while not jobs.feed.closing:
                events = await jobs.history(job, after)
                for event in events:
                    after = event.id
                    yield format_sse_event(event=event.kind, data_str=event.data, id=event.id)
                if over or (events and events[-1].kind == "done"):
                    return
                if not events:  # it may have ended since, or be deleted: then look once more
                    over = not await _goes_on(jobs, job.id)
                if not over and not await watch.changed(PING_EVERY_S):
                    yield KEEPALIVE_COMMENT


async def _goes_on(jobs: Jobs, job_id: str) -> bool:
    try:
        return not (await jobs.fetch(job_id)).status.terminal
    except (JobNotFoundError, ExpiredError):
        return False
