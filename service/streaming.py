"""Waiting for a job to change, without a thread per waiter; in the service only."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from anyio import to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from darkroom.errors import ExpiredError, JobNotFoundError, QueueUnavailableError
from darkroom.job import Job
from service.dependencies import Darkroom

PING_EVERY_S = 15.0


async def wait_for(
    here: Darkroom, job_id: str, enough: Callable[[Job], bool], timeout_s: float
) -> Job:
    """The job as soon as it is `enough`, or as it is after `timeout_s`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + timeout_s
    async with here.feed.watch(job_id) as watch:
        while True:
            job = await to_thread.run_sync(here.queue.fetch, job_id)
            left = give_up - loop.time()
            if enough(job) or left <= 0 or here.feed.closing:
                return job
            await watch.changed(left)


async def event_stream(here: Darkroom, job_id: str, after: str | None) -> AsyncIterator[bytes]:
    """The job's events after the id `after` as server-sent events, until it is done or gone.

    Ends early when Redis goes away: the client comes back with `Last-Event-ID`."""
    with suppress(QueueUnavailableError):
        async with here.feed.watch(job_id) as watch:
            over = False
            while not here.feed.closing:
                events = await here.feed.history(job_id, after)
                for event in events:
                    after = event.id
                    yield format_sse_event(event=event.kind, data_str=event.data, id=event.id)
                if over or (events and events[-1].kind == "done"):
                    return
                if not events:  # it may have ended since, or be deleted: then look once more
                    over = not await to_thread.run_sync(_unfinished, here, job_id)
                if not over and not await watch.changed(PING_EVERY_S):
                    yield KEEPALIVE_COMMENT


def _unfinished(here: Darkroom, job_id: str) -> bool:
    try:
        return not here.queue.fetch(job_id).status.terminal
    except (JobNotFoundError, ExpiredError):
        return False
