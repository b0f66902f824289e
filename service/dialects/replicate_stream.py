"""A prediction as server-sent events, as Replicate's clients read them; in the service only."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from darkroom.errors import DarkroomError
from darkroom.job import Job
from darkroom.predictions import error_of, logs_of, status_of
from service.access import Jobs
from service.errors import fault_of
from service.streaming import PING_EVERY_S

_REASONS = {"failed": "error", "canceled": "canceled"}
_LEAVING = "The service is shutting down. The prediction goes on: ask for it again."


async def events_of(
    jobs: Jobs, job: Job, outputs: Callable[[Job], Awaitable[Sequence[str]]]
) -> AsyncIterator[bytes]:
    """`logs` as they come, then each `output`, or an `error`, then `done`. Each event has an id:
    clients drop those without."""
    ids, told = count(1), set[str]()

    def event(kind: str, data: str) -> bytes:
        return format_sse_event(event=kind, data_str=data, id=str(next(ids)))

    try:
        async with jobs.watch(job.id) as watch:
            while not jobs.feed.closing:
                job = await jobs.watched(watch)
                for line in logs_of(job):
                    if line not in told:
                        told.add(line)
                        yield event("logs", f"{line}\n")
                if job.status.terminal:
                    for each in await outputs(job):
                        yield event("output", each)
                    status = status_of(job)
                    if status == "failed":
                        yield event("error", error_of(job) or "")
                    reason = _REASONS.get(status)
                    yield event("done", json.dumps({"reason": reason} if reason else {}))
                    return
                if not await jobs.changed(watch, PING_EVERY_S):
                    yield KEEPALIVE_COMMENT
        yield event("error", _LEAVING)
    except DarkroomError as error:
        yield event("error", fault_of(error).detail)
