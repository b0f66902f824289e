"""A client of a Darkroom for event loops, of which it blocks nothing; knows HTTP alone."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, closing, suppress
from types import TracebackType
from typing import Any, Literal, Never, Self, TypeVar, Unpack

import httpx2

from darkroom.batch import Batch
from darkroom.client import calls, courses
from darkroom.client.calls import Body, Call, batch_path, body_of, file_path, job_path
from darkroom.client.connecting import DEFAULT_URL, Address
from darkroom.client.courses import (
    PATIENCE_S,
    Course,
    Outcome,
    Patience,
    Pause,
    Step,
    Tell,
    go_on,
    patiently,
)
from darkroom.client.event_stream import Event, EventReader
from darkroom.client.fields import RequestFields
from darkroom.client.pictures import Picture, kept_pictures
from darkroom.client.refusals import NoServiceError, RefusedError
from darkroom.errors import DarkroomError
from darkroom.job import Job
from darkroom.kept_file import FileKind, KeptFile

T = TypeVar("T")
Told = TypeVar("Told")


class AsyncClient:
    """The same as `Client`, whose methods say what these do. Use as a context manager, or `aclose`
    it. A generator that is left before its end keeps a connection until it is closed."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        key_from: str = "",
        timeout_s: float = 30.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`key`: of the API; `key_from` says where it comes from, to who learns that it is refused.
        `timeout_s`: of one request. Raises NoServiceError, UnauthenticatedError for what is none.
        """
        self._address = Address(url, key, key_from)
        self.url = self._address.url
        self.patience_s = patience_s
        self._http = httpx2.AsyncClient(**self._address.options(timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    # Jobs

    async def submit(
        self,
        request: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job:
        return await self._do(calls.submit(body_of(request, fields), idempotency_key))

    async def dry_run(
        self, request: Body | None = None, **fields: Unpack[RequestFields]
    ) -> dict[str, Any]:
        return await self._do(calls.dry_run(body_of(request, fields)))

    async def retry(
        self,
        job: Job | str,
        changes: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job:
        path = f"{job_path(_id(job))}/retry"
        return await self._do(calls.submit(body_of(changes, fields), idempotency_key, path))

    async def job(self, job: Job | str) -> Job:
        return await self._do(calls.job(_id(job)))

    def jobs(self, *, limit: float = 20, **filters: Any) -> AsyncIterator[Job]:
        course = courses.pages(Job, "/api/v1/jobs", filters, limit, self.patience_s)
        return self._tell(course)

    async def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        if isinstance(job, Job) and job.status.terminal:
            return job
        return await self._go(courses.wait(_id(job), timeout_s, self.patience_s))

    def follow(self, job: Job | str, patience_s: float = PATIENCE_S) -> AsyncIterator[Job]:
        return self._tell(courses.follow(_id(job), patience_s))

    def events(self, job: Job | str | None = None, *, after: str = "") -> AsyncIterator[Event]:
        if job is None:
            return self._read(EventReader("/api/v1/events", None, after, self.patience_s))
        path = f"{job_path(_id(job))}/events"
        return self._read(EventReader(path, _id(job), after, self.patience_s))

    async def mark(self, job: Job | str, marks: Mapping[str, Any]) -> Job:
        return await self._do(calls.mark(_id(job), marks))

    async def cancel(self, job: Job | str) -> Job:
        return await self._do(calls.cancel(_id(job)))

    async def delete(self, job: Job | str) -> None:
        await self._go(courses.delete(job_path(_id(job)), Patience(self.patience_s)))

    # Pictures

    async def images(self, job: Job | str) -> AsyncIterator[Picture]:
        for record in kept_pictures(await self.wait(job)):
            yield Picture(record, await self.image(record.id))

    async def image(self, image_id: str) -> bytes:
        return await self._do(calls.image(image_id))

    # Batches

    async def submit_batch(
        self, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Batch:
        return await self._do(calls.submit_batch(body_of(body, {}), idempotency_key))

    async def dry_run_batch(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._do(calls.dry_run(body_of(body, {}), "/api/v1/jobs/batch"))

    async def batch(self, batch_id: str) -> Batch:
        return await self._do(calls.batch(batch_id))

    def follow_batch(self, batch_id: str, patience_s: float = PATIENCE_S) -> AsyncIterator[Batch]:
        return self._tell(courses.follow_batch(batch_id, patience_s))

    async def cancel_batch(self, batch_id: str) -> Batch:
        return await self._do(calls.cancel_batch(batch_id))

    async def delete_batch(self, batch_id: str) -> None:
        await self._go(courses.delete(batch_path(batch_id), Patience(self.patience_s)))

    # Files

    async def put_file(self, data: bytes, kind: FileKind = "picture") -> KeptFile:
        return await self._do(calls.put_file(data, kind))

    def files(self, *, limit: float = 20) -> AsyncIterator[KeptFile]:
        return self._tell(courses.pages(KeptFile, "/api/v1/files", {}, limit, self.patience_s))

    async def file_content(self, file_id: str) -> bytes:
        return await self._do(calls.content(f"{file_path(file_id)}/content"))

    async def delete_file(self, file_id: str) -> None:
        await self._go(courses.delete(file_path(file_id), Patience(self.patience_s)))

    # The service

    async def models(self) -> list[dict[str, Any]]:
        return list((await self.ask("GET", "models"))["data"])

    async def workers(self) -> list[dict[str, Any]]:
        return list((await self.ask("GET", "workers"))["data"])

    async def queues(self) -> dict[str, Any]:
        return dict(await self.ask("GET", "queue"))

    async def switch_queue(
        self, verb: Literal["pause", "resume"], model: str | None
    ) -> dict[str, Any]:
        return await self._do(calls.switch_queue(verb, model))

    async def ready(self) -> bool:
        try:
            await self._answer(calls.ready())
        except (RefusedError, NoServiceError):
            return False
        return True

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        return await self._do(calls.ask(method, path, options))

    # How it is carried out

    async def _do(self, call: Call[T]) -> T:
        return await self._go(patiently(call, Patience(self.patience_s)))

    async def _go(self, course: Course[Never, T]) -> T:
        try:
            step = next(course)
            while True:
                step = go_on(course, await self._outcome(step))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _tell(self, course: Course[Told, None]) -> AsyncIterator[Told]:
        with closing(course), suppress(StopIteration):
            step = next(course)
            while True:
                if isinstance(step, Tell):
                    yield step.value
                step = go_on(course, await self._outcome(step))

    async def _outcome(self, step: Step[Any]) -> Outcome:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        try:
            return await self._answer(step) if isinstance(step, Call) else None
        except DarkroomError as error:
            return error

    async def _answer(self, call: Call[Any]) -> httpx2.Response:
        with self._address.faults():
            answer = await self._http.request(call.method, call.path, **call.options)
        return self._address.taken(answer)

    async def _read(self, reader: EventReader) -> AsyncIterator[Event]:
        while not reader.done:
            error = None
            try:
                async with aclosing(self._read_once(reader)) as events:
                    async for event in events:
                        yield event
            except (NoServiceError, RefusedError) as fault:
                error = fault
            if not reader.done:
                await asyncio.sleep(reader.pause_s(error))

    async def _read_once(self, reader: EventReader) -> AsyncGenerator[Event]:
        call = reader.call()
        with self._address.faults():
            async with self._http.stream(call.method, call.path, **call.options) as answer:
                if self._address.refuses(answer):
                    await answer.aread()
                self._address.taken(answer)
                reader.opened(answer.status_code)
                async for data in answer.aiter_bytes():
                    for event in reader.read(data):
                        yield event
                    if reader.done:
                        return


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
