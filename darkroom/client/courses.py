"""What takes several calls: repeating, waiting, following, turning pages; carries out none itself.

A course is a generator: it yields calls and is sent their answers, or has what went wrong with them
thrown into it; it yields pauses, and what it has to tell. So a client that blocks and one on an
event loop go the same way.
"""

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Never, TypeAlias, TypeVar

from httpx2 import Response
from pydantic import BaseModel

from darkroom.batch import Batch
from darkroom.client import calls
from darkroom.client.calls import Call
from darkroom.client.refusals import ConnectionLostError, NoServiceError, RefusedError
from darkroom.errors import DarkroomError
from darkroom.job import Job

T = TypeVar("T")
Told = TypeVar("Told", covariant=True)
Shape = TypeVar("Shape", bound=BaseModel)

PATIENCE_S = 60.0
"""How long what may pass is waited out: a restart, a full queue, a limit of requests."""
BATCH_POLL_S = 2
BETWEEN_POLLS_S = 0.2
SHORTEST_PAUSE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 0.5, 8.0
GONE = (404, 410)


@dataclass(frozen=True)
class Pause:
    """A step: wait so long."""

    seconds: float


@dataclass(frozen=True)
class Tell(Generic[Told]):
    """A step: hand this to whoever asked."""

    value: Told


Step: TypeAlias = Call[Any] | Pause | Tell[Told]
Course: TypeAlias = Generator[Step[Told], Any, T]
Outcome: TypeAlias = Response | DarkroomError | None


def go_on(course: Course[Told, T], outcome: Outcome) -> Step[Told]:
    """What comes after a step: the answer is sent in, what went wrong is thrown in."""
    return course.throw(outcome) if isinstance(outcome, DarkroomError) else course.send(outcome)


class Patience:
    """Until when what fails is tried again."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: how long, from the first fault on."""
        self.lost = False
        """Whether an answer got lost, so that nobody knows what became of the call."""
        self._patience_s = patience_s
        self._first_fault: float | None = None
        self._pause_s = FIRST_PAUSE_S

    def pause_s(self, error: DarkroomError) -> float:
        """Seconds until the next try. Raises the error if there is to be none."""
        self.lost = self.lost or isinstance(error, ConnectionLostError)
        now = time.monotonic()
        self._first_fault = self._first_fault or now
        named_s = error.retry_s if isinstance(error, RefusedError) else None
        pause_s = self._pause_s if named_s is None else max(named_s, SHORTEST_PAUSE_S)
        if not error.retryable or now + pause_s > self._first_fault + self._patience_s:
            raise error
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        return pause_s


def patiently(call: Call[T], patience: Patience) -> Course[Never, T]:
    """The call, again and again while it fails for what may pass."""
    while True:
        try:
            answer = yield call
        except (NoServiceError, RefusedError) as error:
            if not call.repeatable:
                raise
            pause_s = patience.pause_s(error)
        else:
            return call.read(answer)
        yield Pause(pause_s)


def delete(path: str, patience: Patience) -> Course[Never, None]:
    """What a try whose answer got lost deleted is gone, and that is all that was wanted."""
    try:
        yield from patiently(calls.delete(path), patience)
    except RefusedError as error:
        if not (patience.lost and error.status in GONE):
            raise


def wait(job_id: str, timeout_s: float | None, patience_s: float) -> Course[Never, Job]:
    """The job once it has ended. Raises TimeoutError."""
    give_up = math.inf if timeout_s is None else time.monotonic() + timeout_s
    while True:
        wait_s = max(0.0, min(calls.LONG_POLL_S, give_up - time.monotonic()))
        job = yield from patiently(calls.job(job_id, wait_s), Patience(patience_s))
        if job.status.terminal:
            return job
        if time.monotonic() >= give_up:
            raise TimeoutError(f"{job_id} is {job.status} after {timeout_s:g} s.")
        yield Pause(BETWEEN_POLLS_S)


def follow(job_id: str, patience_s: float) -> Course[Job, None]:
    """The job now and after each change, the last time when it has ended."""
    etag = ""
    while True:
        changed = yield from patiently(calls.change(job_id, etag), Patience(patience_s))
        if changed is None:
            continue
        job, newer = changed
        yield Tell(job)
        if job.status.terminal:
            return
        if newer in ("", etag):
            yield Pause(BETWEEN_POLLS_S)
        etag = newer


def follow_batch(batch_id: str, patience_s: float) -> Course[Batch, None]:
    """The batch now and every few seconds or sooner, the last time when it is done."""
    while True:
        batch = yield from patiently(calls.batch(batch_id), Patience(patience_s))
        yield Tell(batch)
        if batch.done:
            return
        waited_for = next(j for j in batch.jobs if j.status and not j.status.terminal)
        try:
            wait = calls.job(waited_for.id, BATCH_POLL_S)
            yield from patiently(wait, Patience(patience_s))
        except RefusedError as error:
            if error.status not in GONE:  # somebody deleted it
                raise


def pages(
    shape: type[Shape], path: str, asked: Mapping[str, Any], limit: float, patience_s: float
) -> Course[Shape, None]:
    """At most `limit` entries of a list, page by page."""
    params = {name: value for name, value in asked.items() if value is not None}
    while limit > 0:
        params = {**params, "limit": int(min(limit, calls.LARGEST_PAGE))}
        page = yield from patiently(calls.page(path, params), Patience(patience_s))
        for values in page["data"]:
            yield Tell(calls.read_shape(shape, values))
        limit -= len(page["data"])
        if not page.get("next_cursor"):
            return
        params = {**params, "cursor": page["next_cursor"]}
