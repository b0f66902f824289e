"""A client of a Darkroom that blocks, for threads and the command line; knows HTTP alone."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
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


class Client:
    """Requests to one Darkroom. Use as a context manager, or `close` it.

    What may pass (a restart, a full queue, a limit) is tried again at the times that the service
    names, for `patience_s` seconds; submissions carry a key of their own, so that no try makes a
    second job. All methods raise RefusedError, which is a class of `darkroom.errors` besides where
    its code has one, and NoServiceError. A job is named by its id or by a `Job`."""

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
        self._http = httpx2.Client(**self._address.options(timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Jobs

    def submit(
        self,
        request: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job:
        """Ask for pictures: `submit(prompt="a red apple")`. `request`: the same as a mapping, or a
        whole request; fields by name go before it."""
        return self._do(calls.submit(body_of(request, fields), idempotency_key))

    def dry_run(
        self, request: Body | None = None, **fields: Unpack[RequestFields]
    ) -> dict[str, Any]:
        """What would come of a request; no job is made."""
        return self._do(calls.dry_run(body_of(request, fields)))

    def retry(
        self,
        job: Job | str,
        changes: Body | None = None,
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[RequestFields],
    ) -> Job:
        """A job like that one, with these fields in place of its own; the same picture without."""
        path = f"{job_path(_id(job))}/retry"
        return self._do(calls.submit(body_of(changes, fields), idempotency_key, path))

    def job(self, job: Job | str) -> Job:
        """As it is now."""
        return self._do(calls.job(_id(job)))

    def jobs(self, *, limit: float = 20, **filters: Any) -> Iterator[Job]:
        """At most `limit` jobs (`math.inf`: all), newest first; by `status`, `model`, `tag`,
        `batch`, `starred`, `q`."""
        course = courses.pages(Job, "/api/v1/jobs", filters, limit, self.patience_s)
        return self._tell(course)

    def wait(self, job: Job | str, timeout_s: float | None = None) -> Job:
        """The job once it has ended, however it did. Raises TimeoutError after `timeout_s`."""
        if isinstance(job, Job) and job.status.terminal:
            return job
        return self._go(courses.wait(_id(job), timeout_s, self.patience_s))

    def follow(self, job: Job | str, patience_s: float = PATIENCE_S) -> Iterator[Job]:
        """The job now and after each change, the last time when it has ended. A service that
        goes away meanwhile (a restart) is waited for."""
        return self._tell(courses.follow(_id(job), patience_s))

    def events(self, job: Job | str | None = None, *, after: str = "") -> Iterator[Event]:
        """What happens to a job from its beginning on, until it is done; without `job` what happens
        to all jobs from now on, for good. Lost connections are taken up again where they broke.
        `after`: only what came after the event with that id."""
        if job is None:
            return self._read(EventReader("/api/v1/events", None, after, self.patience_s))
        path = f"{job_path(_id(job))}/events"
        return self._read(EventReader(path, _id(job), after, self.patience_s))

    def mark(self, job: Job | str, marks: Mapping[str, Any]) -> Job:
        """Change `tags` or `starred`."""
        return self._do(calls.mark(_id(job), marks))

    def cancel(self, job: Job | str) -> Job:
        return self._do(calls.cancel(_id(job)))

    def delete(self, job: Job | str) -> None:
        """With its pictures, for good; one that has not ended is canceled."""
        self._go(courses.delete(job_path(_id(job)), Patience(self.patience_s)))

    # Pictures

    def images(self, job: Job | str) -> Iterator[Picture]:
        """Each picture of a job, once it has ended. Raises NoPicturesError unless it has
        succeeded."""
        for record in kept_pictures(self.wait(job)):
            yield Picture(record, self.image(record.id))

    def image(self, image_id: str) -> bytes:
        return self._do(calls.image(image_id))

    # Batches

    def submit_batch(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Batch:
        """A request with a `grid`, or `jobs`, a list of requests: all are accepted or none."""
        return self._do(calls.submit_batch(body_of(body, {}), idempotency_key))

    def dry_run_batch(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What would come of it; no job is made."""
        return self._do(calls.dry_run(body_of(body, {}), "/api/v1/jobs/batch"))

    def batch(self, batch_id: str) -> Batch:
        return self._do(calls.batch(batch_id))

    def follow_batch(self, batch_id: str, patience_s: float = PATIENCE_S) -> Iterator[Batch]:
        """The batch now and every few seconds or sooner, the last time when it is done. A service
        that goes away meanwhile is waited for."""
        return self._tell(courses.follow_batch(batch_id, patience_s))

    def cancel_batch(self, batch_id: str) -> Batch:
        return self._do(calls.cancel_batch(batch_id))

    def delete_batch(self, batch_id: str) -> None:
        self._go(courses.delete(batch_path(batch_id), Patience(self.patience_s)))

    # Files

    def put_file(self, data: bytes, kind: FileKind = "picture") -> KeptFile:
        """Keep a picture; its id goes wherever a request takes one."""
        return self._do(calls.put_file(data, kind))

    def files(self, *, limit: float = 20) -> Iterator[KeptFile]:
        """At most `limit` files, newest first."""
        return self._tell(courses.pages(KeptFile, "/api/v1/files", {}, limit, self.patience_s))

    def file_content(self, file_id: str) -> bytes:
        return self._do(calls.content(f"{file_path(file_id)}/content"))

    def delete_file(self, file_id: str) -> None:
        self._go(courses.delete(file_path(file_id), Patience(self.patience_s)))

    # The service

    def models(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", "models")["data"])

    def workers(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", "workers")["data"])

    def queues(self) -> dict[str, Any]:
        return dict(self.ask("GET", "queue"))

    def switch_queue(self, verb: Literal["pause", "resume"], model: str | None) -> dict[str, Any]:
        """Pause or resume the queues of a model, or all; what is paused then."""
        return self._do(calls.switch_queue(verb, model))

    def ready(self) -> bool:
        """Whether the service is up and reaches its queue and store."""
        try:
            self._answer(calls.ready())
        except (RefusedError, NoServiceError):
            return False
        return True

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of any path below `/api/v1`; `options` of httpx2."""
        return self._do(calls.ask(method, path, options))

    # How it is carried out

    def _do(self, call: Call[T]) -> T:
        return self._go(patiently(call, Patience(self.patience_s)))

    def _go(self, course: Course[Never, T]) -> T:
        try:
            step = next(course)
            while True:
                step = go_on(course, self._outcome(step))
        except StopIteration as done:
            result: T = done.value
            return result

    def _tell(self, course: Course[Told, None]) -> Iterator[Told]:
        with closing(course), suppress(StopIteration):
            step = next(course)
            while True:
                if isinstance(step, Tell):
                    yield step.value
                step = go_on(course, self._outcome(step))

    def _outcome(self, step: Step[Any]) -> Outcome:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
        try:
            return self._answer(step) if isinstance(step, Call) else None
        except DarkroomError as error:
            return error

    def _answer(self, call: Call[Any]) -> httpx2.Response:
        with self._address.faults():
            answer = self._http.request(call.method, call.path, **call.options)
        return self._address.taken(answer)

    def _read(self, reader: EventReader) -> Iterator[Event]:
        while not reader.done:
            error = None
            try:
                yield from self._read_once(reader)
            except (NoServiceError, RefusedError) as fault:
                error = fault
            if not reader.done:
                time.sleep(reader.pause_s(error))

    def _read_once(self, reader: EventReader) -> Iterator[Event]:
        call = reader.call()
        with (
            self._address.faults(),
            self._http.stream(call.method, call.path, **call.options) as answer,
        ):
            if self._address.refuses(answer):
                answer.read()
            self._address.taken(answer)
            reader.opened(answer.status_code)
            for data in answer.iter_bytes():
                yield from reader.read(data)
                if reader.done:
                    return


def _id(job: Job | str) -> str:
    return job if isinstance(job, str) else job.id
