"""What clients ask of the queue: submit, fetch, cancel, delete, list, count; sends nothing itself.

Each function is an exchange (`exchange.py`) about one transition or view of `lua/`. Where an
`owner` is given, jobs of all others are as if they were not there.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from darkroom.errors import (
    IdempotencyMismatchError,
    JobNotFoundError,
    QueueFullError,
    TooManyActiveJobsError,
)
from darkroom.job import Job, JobStatus, Priority, new_job_id
from darkroom.queue.exchange import Exchange, run, send
from darkroom.queue.job_hash import as_json, call_of, image_ids, read_job, read_jobs

_CURSOR = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_PAGE_SCANS = 10
_SCAN = 500
_PAGE_BYTES = 2**20
"""A page ends with the job that passes it: 100 jobs of the longest prompts are 7 MB."""


@dataclass(frozen=True)
class Submitted:
    """`replayed`: an earlier job with the same idempotency key is returned, nothing is new."""

    job: Job
    replayed: bool


@dataclass(frozen=True)
class Seen:
    """A job as it was read once, for several who may not all see it."""

    id: str
    _answer: list[Any]

    def job(self, owner: str | None) -> Job:
        """Raises JobNotFoundError, or ExpiredError after its retention."""
        return read_job(self._answer, self.id, owner)


@dataclass(frozen=True)
class Page:
    """Jobs, newest first; `next_cursor` is None at the end."""

    jobs: list[Job]
    next_cursor: str | None


@dataclass(frozen=True)
class QueueState:
    """How much waits in a queue, and who works on it."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    name: str
    """The queue: model and priority."""
    queued: int
    """Jobs that wait."""
    running: int
    """Jobs that run."""
    oldest_age_s: float
    """Seconds that the head has waited since it was accepted; 0 if none waits."""
    workers: int
    """Living workers that take its jobs."""
    backlog_s: float = 0.0
    """Seconds of work in it if no two jobs share a pass, as estimated when they were accepted: all
    of what waits, and what is left of what runs. A job without an estimate counts as 1 s."""

    @property
    def model(self) -> str:
        """Whose jobs they are."""
        return self.name.rpartition(".")[0]


def submit(
    request: Mapping[str, Any],
    *,
    model: str,
    priority: Priority = "normal",
    job_id: str | None = None,
    warnings: Sequence[str] = (),
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
    deadline_s: float | None = None,
    idempotency_key: str | None = None,
    fingerprint: str | None = None,
    owner: str = "",
    max_active: int | None = None,
    work_s: float | None = None,
) -> Exchange[Submitted]:
    """Accept a job.

    `deadline_s`: seconds from now; a job that is still queued then is canceled.
    `idempotency_key`: scoped by `owner`, kept for 24 h or as long as the job, if that is less;
    `fingerprint` is a hash of the body that came with it.
    `max_active`: how many queued and running jobs the owner may have.
    `work_s`: seconds that it is likely to take alone; see `costs.solo_s`.

    Raises QueueFullError, TooManyActiveJobsError, IdempotencyMismatchError.
    """
    job_id = job_id or new_job_id()
    verdict, answer = yield from run(
        "submit",
        job_id,
        model,
        priority,
        owner,
        _idempotency_key(owner, idempotency_key),
        fingerprint or "",
        _or_empty(max_active),
        _or_empty(deadline_s),
        call_of(request),
        f"{request.get('task', 'job')} with {model}",
        as_json(list(warnings)),
        as_json(list(tags)),
        as_json(metadata or {}),
        "" if work_s is None else f"{work_s:.3f}",
    )
    _check_verdict(verdict, answer)
    job = read_job(answer, job_id)
    # A key may also replay our own call, sent again by the client library.
    return Submitted(job, replayed=verdict == b"replayed" and job.id != job_id)


def ask(
    *,
    idempotency_key: str | None,
    fingerprint: str | None,
    owner: str = "",
    max_active: int | None = None,
) -> Exchange[Submitted | None]:
    """What `submit` would answer now without accepting anything: the job that an idempotency key
    belongs to, None if a new one would be accepted. Raises what `submit` raises."""
    key = _idempotency_key(owner, idempotency_key)
    asked = (new_job_id(), "", "", owner, key, fingerprint or "", _or_empty(max_active))
    verdict, *answer = yield from run("submit", *asked, *[""] * 7)
    if verdict == b"room":
        return None
    _check_verdict(verdict, answer[0])
    return Submitted(read_job(answer[0], ""), replayed=True)


def _check_verdict(verdict: bytes, answer: Any) -> None:
    match verdict:
        case b"mismatch":
            raise IdempotencyMismatchError(
                f"This idempotency key belongs to job {answer.decode()}, whose body differed."
            )
        case b"too_many":
            raise TooManyActiveJobsError(f"{answer} of your jobs are queued or running.")
        case b"full":
            raise QueueFullError(f"{answer} jobs are queued, which is all that may wait.")


def fetch(job_id: str, *, owner: str | None = None) -> Exchange[Job]:
    """Read a job. Raises JobNotFoundError, or ExpiredError after its retention."""
    return (yield from look(job_id)).job(owner)


def look(job_id: str) -> Exchange[Seen]:
    """Read a job, or that it is not there, for whoever may ask."""
    return Seen(job_id, (yield from run("fetch", job_id)))


def cancel(job_id: str, *, owner: str | None = None) -> Exchange[Job]:
    """End a queued or running job as canceled; an ended one stays as it is.

    Raises JobNotFoundError, ExpiredError."""
    return read_job((yield from run("cancel", job_id, *_given(owner))), job_id, owner)


def delete(job_id: str, *, owner: str | None = None) -> Exchange[list[str]]:
    """Remove a job, canceling it first if it has not ended; returns the ids of its images.

    Raises JobNotFoundError, also afterwards."""
    images = yield from run("delete", job_id, *_given(owner))
    if images is None:
        raise JobNotFoundError(f"No job has the id {job_id[:50]!r}.")
    return image_ids(images)


def page(
    *,
    status: JobStatus | None = None,
    model: str | None = None,
    tag: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    owner: str | None = None,
) -> Exchange[Page]:
    """Jobs that match, newest first. Raises ValueError for a cursor that was never given out.

    There is no index per filter; Redis is held up for 500 jobs at a time. Once 5,000 were looked
    at, the page ends with what was found, but neither without a job nor before it is known whether
    more follow: a filter that hardly any job matches looks at all that are kept.
    """
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise ValueError(f"{cursor[:50]!r} is no cursor of this list")
    before = cursor or ""
    matching = (status.rq if status else "", model or "", tag or "")
    found: list[Job] = []
    bytes_left, scans = _PAGE_BYTES, 0
    while True:
        enough = found and scans >= _PAGE_SCANS
        room = (0 if enough else limit - len(found), bytes_left)
        last, rows, more = yield from run("list", before, *room, *matching, _SCAN, *_given(owner))
        for row in rows:
            if jobs := list(read_jobs([row])):
                found += jobs
                bytes_left -= _size(row)
        before = last.decode()
        scans += 1
        if not before or (more and found):
            return Page(found, before or None)


def queues() -> Exchange[list[QueueState]]:
    """Every queue that ever got a job, by name."""
    rows = yield from run("queues")
    return [
        QueueState(name.decode(), queued, running, float(age), workers, float(backlog))
        for name, queued, running, age, workers, backlog in rows
    ]


def counters() -> Exchange[dict[tuple[str, ...], int]]:
    """Events counted by all processes since Redis was set up, such as ("submitted", model),
    ("finished", model, status, error code or ""), ("fenced",), ("reaped",), ("released",)."""
    counted = yield from send("HGETALL", "darkroom:counters")
    return {tuple(name.decode().split("|")): int(n) for name, n in counted.items()}


def check() -> Exchange[None]:
    """Write something small: fails if Redis is away, full or read-only."""
    yield from send("SET", "darkroom:check", 1, "EX", 60)


def _size(answer: list[Any]) -> int:
    """Bytes of a job as it was read."""
    return sum(map(len, answer[4]))


def _given(owner: str | None) -> tuple[str, ...]:
    return () if owner is None else (owner,)


def _or_empty(number: float | None) -> str:
    return "" if number is None else str(number)


def _idempotency_key(owner: str, key: str | None) -> str:
    """One name for owner and key, whatever characters they hold; "" without a key."""
    if key is None:
        return ""
    return f"darkroom:idem:{hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest()}"
