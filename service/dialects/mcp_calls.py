"""Calls of tools: jobs that are made, waited for, read and canceled; in the service only."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from darkroom.errors import (
    BusyError,
    DarkroomError,
    JobNotFoundError,
    QueueUnavailableError,
    TooManyAtOnceError,
)
from darkroom.foreign_names import meant, told_of_guess
from darkroom.job import JOB_ID, Job
from darkroom.offers import Offer
from darkroom.queue.calls import answered, cut_off
from service.access import Jobs
from service.departure import unless_gone
from service.dependencies import Darkroom
from service.dialects import mcp_answers as answers
from service.dialects import mcp_messages as messages
from service.dialects import mcp_tools as tools
from service.dialects.calls import JOB_HEADER, gone, headers_of, is_repeat, note
from service.dialects.mcp_messages import Message, MessageError
from service.dialects.mcp_tools import Tool
from service.dialects.pictures import own
from service.streaming import PING_EVERY_S, STREAM_HEADERS, wait_for_end
from service.submission import Wanted, submit


@dataclass(frozen=True)
class Asking:
    """A request of this protocol, and what it is answered with."""

    http: Request
    here: Darkroom
    jobs: Jobs
    message: Message
    size: int
    """Bytes of its body."""

    def answer(self, told: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
        return messages.written(messages.result(self.message, told), 200, headers)

    async def result(self, job: Job, *, is_made: bool) -> dict[str, Any]:
        """What a tool answers about a job."""
        return await answers.job_result(self.http, self.here, self.jobs, job, is_made=is_made)

    async def task(self, job: Job) -> dict[str, Any]:
        """A job as a task, with its result once it has one."""
        told = answers.task_of(job)
        if told["status"] == "completed":
            told["result"] = await self.result(job, is_made=True)
        return told

    async def fetch(self, job_id: object) -> Job:
        """Raises JobNotFoundError, ExpiredError, QueueUnavailableError."""
        return await self.jobs.fetch(_checked(job_id))


async def call_tool(asking: Asking) -> Response:
    """Raises MessageError for a tool that there is not; what else goes wrong is the answer."""
    tool = tools.TOOLS.get(asking.message.text("name"))
    given = asking.message.params.get("arguments") or {}
    if tool is None or not isinstance(given, dict):
        raise MessageError(messages.INVALID_PARAMS, "There is no such tool, or no arguments.")
    try:
        arguments, told = tools.known(tool, given)
        if tool.makes:
            return await _make(asking, tool, arguments, told)
        if tool.name == "list_models":
            return asking.answer(await _models(asking.here))
        if tool.name == "get_job":
            return await _get_job(asking, arguments)
        job = await asking.jobs.cancel(_checked(arguments["job_id"]))
        return asking.answer(await asking.result(job, is_made=False), {JOB_HEADER: job.id})
    except MessageError:
        raise
    except DarkroomError as error:
        return asking.answer(answers.tool_error(error))


async def _make(asking: Asking, tool: Tool, given: dict[str, Any], told: list[str]) -> Response:
    """Pictures of a new job or, to clients that take them, a task."""
    http, here, jobs = asking.http, asking.here, asking.jobs
    wait_s = tools.wait_of(given)
    is_call = bool(wait_s) and not asking.message.takes_tasks
    model, offer, guessed = await _model(here, tool, given.get("model"))
    native, edited = tools.native_of(tool, given, offer, lambda text: own(http, text))
    wanted = Wanted(
        native | {"model": model},
        asking.size,
        is_repeat=is_repeat(http.headers) if is_call else None,
        warnings=(*told, *guessed, *edited),
    )
    submitted = await submit(here, jobs, http, wanted)
    job, headers = submitted.job, headers_of(submitted)
    if asking.message.takes_tasks:
        return asking.answer({"resultType": "task"} | answers.task_of(job), headers)
    if not is_call:
        return asking.answer(await asking.result(job, is_made=True), headers)
    return await _answered(asking, job, wait_s, headers, is_call=True)


async def _model(here: Darkroom, tool: Tool, name: object) -> tuple[str, Offer, list[str]]:
    """The model that is meant, what it offers, and what to tell of the choice. Without a name, one
    that does what the tool is there for. Raises ModelNotFoundError, QueueUnavailableError."""
    if name is None:
        default = here.catalog.default
        offers = sorted(await here.all_offers(), key=lambda each: each.card.name != default)
        picked = tools.pick(tool, offers) or offers[0]
        return picked.card.name, picked, []
    word = name if isinstance(name, str) else str(name)
    found = meant(here.catalog, word[:200])
    return found.model, await here.offer_of(found.model), told_of_guess(found, word)


async def _models(here: Darkroom) -> dict[str, Any]:
    return answers.models_result(await here.all_offers(), here.catalog.default)


async def _get_job(asking: Asking, given: dict[str, Any]) -> Response:
    job = await asking.fetch(given["job_id"])
    wait_s = 0 if job.status.terminal else tools.wait_of(given)
    headers = {JOB_HEADER: job.id}
    if not wait_s:
        return asking.answer(await asking.result(job, is_made=False), headers)
    return await _answered(asking, job, wait_s, headers, is_call=False)


def _checked(job_id: object) -> str:
    if not isinstance(job_id, str) or not JOB_ID.fullmatch(job_id):
        raise JobNotFoundError("No job has this id.")
    return job_id


async def _answered(
    asking: Asking, job: Job, wait_s: float, headers: dict[str, str], *, is_call: bool
) -> Response:
    """The answer about a job when it has ended, or as it is after `wait_s`; with what is told of it
    meanwhile to clients that ask for that. `is_call`: who leaves gives the job up."""
    accepts = asking.http.headers.get("accept", "")
    if asking.message.progress_token is not None and "text/event-stream" in accepts:
        events = _events(asking, job, wait_s, is_call=is_call)
        return StreamingResponse(events, 200, headers | STREAM_HEADERS, "text/event-stream")
    with ExitStack() as place:
        if has_place(asking, place):
            try:
                job = await unless_gone(asking.http, wait_for_end(asking.jobs, job, wait_s))
            except ClientDisconnect:
                if is_call:
                    await gone(asking.jobs, job)
                raise
    response = asking.answer(await asking.result(job, is_made=is_call), headers)
    if is_call:
        response.background = BackgroundTask(note, asking.jobs, answered, job)
    return response


def has_place(asking: Asking, place: ExitStack) -> bool:
    """Whether there is one among those who wait, which `place` then holds; who has none is answered
    at once."""
    try:
        place.enter_context(asking.here.place(asking.http))
    except (BusyError, TooManyAtOnceError):
        return False
    return True


async def _events(
    asking: Asking, job: Job, wait_s: float, *, is_call: bool
) -> AsyncIterator[bytes]:
    """How far the job is, and at last the answer. Who leaves in between gives it up."""
    is_told, so_far = False, -1.0
    try:
        with ExitStack() as place:
            wait_s = wait_s if has_place(asking, place) else 0
            async with aclosing(_changes(asking.jobs, job, wait_s)) as changes:
                async for changed in changes:
                    job = changed or job
                    ratio = job.progress.ratio if job.progress else 0.0
                    if changed and ratio > so_far and not job.status.terminal:
                        so_far = ratio
                        yield messages.event(_progress(asking.message, job, ratio))
                    elif changed is None:
                        yield KEEPALIVE_COMMENT
        told = await asking.result(job, is_made=is_call)
        yield messages.event(messages.result(asking.message, told))
        is_told = True
        if is_call:
            await note(asking.jobs, answered, job)
    except DarkroomError as error:
        is_told = True
        if is_call:
            await note(asking.jobs, cut_off, job)
        told = answers.tool_error(error)
        yield messages.event(messages.result(asking.message, told))
    finally:
        if is_call and not is_told:
            await gone(asking.jobs, job)


def _progress(message: Message, job: Job, ratio: float) -> dict[str, Any]:
    told = {"progressToken": message.progress_token, "progress": ratio, "total": 1}
    return messages.notification("notifications/progress", told | {"message": answers.how_far(job)})


async def _changes(jobs: Jobs, job: Job, wait_s: float) -> AsyncGenerator[Job | None, None]:
    """The job after each change until it has ended or `wait_s` are over, and None now and then, so
    that the connection stays open. Ends early while Redis is away: the job goes on. Raises
    JobNotFoundError, ExpiredError, UnauthenticatedError."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + wait_s
    try:
        async with jobs.watch(job.id) as watch:
            try:
                while True:
                    job = await jobs.watched(watch)
                    yield job
                    left = give_up - loop.time()
                    if job.status.terminal or left <= 0 or jobs.feed.closing:
                        return
                    if not await jobs.changed(watch, min(left, PING_EVERY_S)):
                        yield None
            except asyncio.CancelledError:
                await watch.at_rest()  # as in `wait_for`
                raise
    except QueueUnavailableError:
        return
