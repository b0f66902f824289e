"""Streams of what becomes of tasks, for clients that listen; in the service only."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT

from darkroom.errors import (
    ExpiredError,
    NotFoundError,
    QueueUnavailableError,
    UnauthenticatedError,
)
from darkroom.job import Job
from service.dialects import mcp_messages as messages
from service.dialects.mcp_calls import Asking, has_place
from service.dialects.mcp_messages import MessageError
from service.streaming import PING_EVERY_S, STREAM_HEADERS

MOST_TASKS = 50
"""That one stream tells of."""
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


async def listen(asking: Asking) -> Response:
    """What becomes of the tasks that are asked for, of which those of others are not there. Of
    nothing else is told. Raises MessageError, QueueUnavailableError."""
    jobs = [job for each in _wanted(asking) if (job := await _found(asking, each))]
    events = _events(asking, jobs)
    return StreamingResponse(events, 200, STREAM_HEADERS, "text/event-stream")


def _wanted(asking: Asking) -> list[str]:
    notifications = asking.message.params.get("notifications")
    ids = notifications.get("taskIds", []) if isinstance(notifications, Mapping) else None
    if not isinstance(ids, list) or len(ids) > MOST_TASKS:
        detail = f"notifications must be an object, and its taskIds a list of {MOST_TASKS} at most."
        raise MessageError(messages.INVALID_PARAMS, detail)
    if ids:
        asking.message.require_tasks()
    return [each for each in ids if isinstance(each, str)]


async def _found(asking: Asking, job_id: str) -> Job | None:
    try:
        return await asking.fetch(job_id)
    except (NotFoundError, ExpiredError):
        return None


async def _events(asking: Asking, jobs: Sequence[Job]) -> AsyncIterator[bytes]:
    """An acknowledgement, then each task as it is and after each change, and at last the answer:
    when all have ended, or when the stream must end before."""
    ids = [job.id for job in jobs]
    agreed = {"notifications": {"taskIds": ids} if ids else {}}
    yield _notification(asking, "notifications/subscriptions/acknowledged", agreed)
    with ExitStack() as place:
        if has_place(asking, place):
            async with aclosing(_changes(asking, ids)) as changes:
                async for job in changes:
                    if job is None:
                        yield KEEPALIVE_COMMENT
                    else:
                        told = await asking.task(job)
                        yield _notification(asking, "notifications/tasks", told)
    end = messages.result(asking.message, {})
    end["result"]["_meta"] |= {_SUBSCRIPTION: asking.message.id}
    yield messages.event(end)


async def _changes(asking: Asking, ids: Sequence[str]) -> AsyncGenerator[Job | None, None]:
    """Each job as it is, and again after each change, until all have ended; None now and then, so
    that the connection stays open. Ends early when the service stops, while Redis is away and once
    the key of who asks is no longer valid: clients listen again."""
    feed, owner = asking.jobs.feed, asking.jobs.whose(None)
    going, changed = set(ids), list(ids)
    try:
        after = (await feed.place(owner, None)).after
        async with feed.watch_all(owner) as watch:
            while (going or not ids) and not feed.closing:
                await asking.jobs.asker.left_s()
                for job_id in changed:
                    job = await _found(asking, job_id)
                    if job is None or job.status.terminal:
                        going.discard(job_id)
                    if job:
                        yield job
                events = await watch.history(after)
                after = events[-1].id if events else after
                changed = list(dict.fromkeys(e.job_id for e in events if e.job_id in going))
                is_over = ids and not going
                if not (is_over or events or await watch.changed(PING_EVERY_S)):
                    yield None
    except (QueueUnavailableError, UnauthenticatedError):
        return


def _notification(asking: Asking, method: str, told: Mapping[str, Any]) -> bytes:
    about = {"_meta": {_SUBSCRIPTION: asking.message.id}}
    return messages.event(messages.notification(method, about | dict(told)))
