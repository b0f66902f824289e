"""What clients ask of the queue: submit, fetch, mark, cancel, delete, count; sends nothing itself.

Each function is an exchange (`exchange.py`) about one transition or view of `lua/`. Where an
`owner` is given, jobs of all others are as if they were not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from darkroom.errors import JobNotFoundError
from darkroom.job import PAUSED, Job, Priority, QueuePlace, new_job_id
from darkroom.job_options import JobMarks
from darkroom.queue.accepting import NewJob, Terms, check_verdict
from darkroom.queue.calls import Call
from darkroom.queue.exchange import Exchange, Send, run, send
from darkroom.queue.job_hash import as_json, image_ids, read_job
from darkroom.queue.pausing import paused


@dataclass(frozen=True)
class Submitted:
    """`replayed`: an earlier job with the same idempotency key, or of a call that is repeated, is
    returned, nothing is new."""

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
    paused: bool = False
    """Whether an operator paused it: its jobs wait."""

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
    max_queued: int | None = None,
    gpu_seconds_per_day: int | None = None,
    work_s: float | None = None,
    parent_id: str | None = None,
    webhook: Mapping[str, Any] | None = None,
    call: Call | None = None,
    ttl_s: int | None = None,
    preview: int | None = None,
) -> Exchange[Submitted]:
    """Accept a job.

    `deadline_s`: seconds from now; a job that is still queued then is canceled.
    `idempotency_key`: scoped by `owner`, kept for 24 h or as long as the job, if that is less;
    `fingerprint` is a hash of the body that came with it.
    `max_active`: how many queued and running jobs the owner may have; `max_queued`: how many that
    are queued; `gpu_seconds_per_day`: how much work those may be that are accepted from
    midnight to midnight, UTC, of ended ones what they took.
    `work_s`: seconds that it is likely to take alone; see `costs.solo_s`.
    `parent_id`: the job that it came from.
    `webhook`: whom to tell of it, the fields of `Webhook`.
    `call`: of the client who waits for it; see `calls.py`.
    `ttl_s`: seconds that it is kept after its end, if that is less than others are.
    `preview`: after how many steps each to show an early picture; 0: none; None: as workers do.
    The owner is noted as one who sent the input pictures of the request: see `owned_pictures.py`.

    Raises QueueFullError, TooManyActiveJobsError, TooManyQueuedJobsError, GpuBudgetError,
    IdempotencyMismatchError.
    """
    new = NewJob(
        request=request,
        model=model,
        id=job_id or new_job_id(),
        priority=priority,
        warnings=warnings,
        tags=tags,
        metadata=metadata,
        deadline_s=deadline_s,
        work_s=work_s,
        parent_id=parent_id,
        webhook=webhook,
        ttl_s=ttl_s,
        preview=preview,
    )
    terms = Terms(
        owner=owner,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        max_active=max_active,
        max_queued=max_queued,
        call=call,
        gpu_seconds_per_day=gpu_seconds_per_day,
    )
    verdict, answer, *_ = yield from run("submit", *terms.words(1, new.cost_s), *new.words)
    check_verdict(verdict, answer, terms)
    job = read_job(answer, new.id)
    # A key may also replay our own call, sent again by the client library.
    return Submitted(job, replayed=verdict == b"replayed" and job.id != new.id)


def ask(terms: Terms, work_s: float = 0.0) -> Exchange[Submitted | None]:
    """What `submit` would answer now to a job of so much work without accepting anything: the job
    that an idempotency key or a repeated call belongs to, None if a new one would be accepted.
    Raises what `submit` raises."""
    verdict, *answer = yield from run("submit", *terms.words(1, work_s))
    if verdict == b"room":
        return None
    check_verdict(verdict, answer[0], terms)
    return Submitted(read_job(answer[0], ""), replayed=True)


def next_place(queue: str, work_s: float) -> Exchange[tuple[QueuePlace, float]]:
    """Where a job of so much work would wait that is accepted now, and when that is, in Unix
    time."""
    rank, (seconds, micros) = yield Send((("ZCARD", f"darkroom:waiting:{queue}"), ("TIME",)))
    halted = (yield from paused()).holds(queue.rpartition(".")[0])
    place = QueuePlace(name=queue, position=rank, work_s=work_s, reason=PAUSED if halted else None)
    return place, int(seconds) + int(micros) / 1e6


def fetch(job_id: str, *, owner: str | None = None) -> Exchange[Job]:
    """Read a job. Raises JobNotFoundError, or ExpiredError after its retention."""
    return (yield from look(job_id)).job(owner)


def look(job_id: str) -> Exchange[Seen]:
    """Read a job, or that it is not there, for whoever may ask."""
    return Seen(job_id, (yield from run("fetch", job_id)))


def cancel(job_id: str, *, owner: str | None = None) -> Exchange[Job]:
    """End a queued or running job as canceled; an ended one stays as it is.

    Raises JobNotFoundError, ExpiredError."""
    return read_job((yield from run("cancel", job_id, *given(owner))), job_id, owner)


def delete(job_id: str, *, owner: str | None = None) -> Exchange[list[str]]:
    """Remove a job, canceling it first if it has not ended; returns the ids of its images.

    Raises JobNotFoundError, also afterwards."""
    images = yield from run("delete", job_id, *given(owner))
    if images is None:
        raise JobNotFoundError(f"No job has the id {job_id[:50]!r}.")
    return image_ids(images)


def mark(
    job_id: str, marks: JobMarks, *, seen: Job | None = None, owner: str | None = None
) -> Exchange[Job | None]:
    """Write on a job what is said in `marks`; None, and nothing is written, where it is `seen` no
    more, since others have marked it. Raises JobNotFoundError, ExpiredError."""
    tags = "" if marks.tags is None else as_json(marks.tags)
    before = one_or_zero(seen.starred) + as_json(seen.tags) if seen else ""
    starred = one_or_zero(marks.starred)
    answer = yield from run("mark", job_id, tags, starred, before, *given(owner))
    return read_job(answer, job_id, owner) if answer else None


def queues() -> Exchange[list[QueueState]]:
    """Every queue that ever got a job, by name."""
    rows = yield from run("queues")
    return [
        QueueState(
            name.decode(), queued, running, float(age), workers, float(backlog), bool(paused)
        )
        for name, queued, running, age, workers, backlog, paused in rows
    ]


def counters() -> Exchange[dict[tuple[str, ...], int]]:
    """Events counted by all processes since Redis was set up, such as ("submitted", model),
    ("finished", model, status, error code or ""), ("fenced",), ("reaped",), ("released",)."""
    counted = yield from send("HGETALL", "darkroom:counters")
    return {tuple(name.decode().split("|")): int(n) for name, n in counted.items()}


def check() -> Exchange[None]:
    """Write something small: fails if Redis is away, full or read-only."""
    yield from send("SET", "darkroom:check", 1, "EX", 60)


def one_or_zero(value: bool | None) -> str:
    """As scripts read it; "" for None."""
    return "" if value is None else str(int(value))


def given(owner: str | None) -> tuple[str, ...]:
    """The owner as the last word of a script that may go without."""
    return () if owner is None else (owner,)
