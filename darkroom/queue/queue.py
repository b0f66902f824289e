"""The queue: RQ's keys, Darkroom's own transitions; used by all processes, knows no HTTP, no torch.

Each transition is one Lua script of `lua/`: one round trip, atomic, safe to repeat, and on
Redis's clock. RQ's formats (pinned to 2.12) are known in this folder only; what
RQ's own tools must be able to read is in tests/darkroom/queue/test_rq_contract.py.

Every method raises QueueUnavailableError while Redis is away, starting, or too full to write.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from redis import Redis
from rq.serializers import JSONSerializer

from darkroom import logs
from darkroom.errors import (
    IdempotencyMismatchError,
    JobNotFoundError,
    QueueFullError,
    TooManyActiveJobsError,
)
from darkroom.job import (
    ImageRecord,
    Job,
    JobError,
    JobStatus,
    Priority,
    Progress,
    Timings,
    new_job_id,
)
from darkroom.queue.connection import SOCKET_TIMEOUT_S, translated
from darkroom.queue.job_hash import (
    FUNCTION,
    image_ids,
    input_ids,
    read_fields,
    read_job,
    read_jobs,
    read_request,
)
from darkroom.queue.lua import MALFORMED, scripts
from darkroom.settings import Settings

log = logs.get("queue")

_STORE_MARK = "darkroom:store"

_BATCH = 100
"""What one call of reap, deadlines or retention handles, so that none holds Redis up for long."""

_CURSOR = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_PAGE_SCANS = 10
_SCAN = 500

Finish = Literal["committed", "already", "fenced"]


@dataclass(frozen=True)
class Submitted:
    """`replayed`: an earlier job with the same idempotency key is returned, nothing is new."""

    job: Job
    replayed: bool


@dataclass(frozen=True)
class Claim:
    """A job leased to an engine; `token` proves it."""

    job_id: str
    token: str
    request: dict[str, Any]
    attempt: int
    """1 the first time."""
    remaining_s: float | None
    """Seconds from the claim to the deadline, by Redis's clock."""
    queued_s: float
    """Seconds since it was queued the last time."""
    priority: Priority

    @property
    def must_run_alone(self) -> bool:
        """It was running twice when an engine died: let it take no neighbours down."""
        return self.attempt >= 3


@dataclass(frozen=True)
class Held:
    """What a beat found out."""

    lost: frozenset[str]
    """Tokens of claims that are the engine's no more."""
    canceled: frozenset[str]
    """Those of them whose job was canceled."""
    forgotten: frozenset[str]
    """Ids of jobs that the engine had forgotten; they are queued again."""


@dataclass(frozen=True)
class Page:
    """Jobs, newest first; `next_cursor` is None at the end."""

    jobs: list[Job]
    next_cursor: str | None


@dataclass(frozen=True)
class QueueState:
    """`oldest_age_s`: seconds that the head has waited since it was accepted; 0 if none waits."""

    name: str
    queued: int
    running: int
    oldest_age_s: float
    workers: int


def queue_name(model: str, priority: Priority) -> str:
    return f"{model}.{priority}"


def queue_names(models: Iterable[str]) -> list[str]:
    """The queues of these models in the order to claim from: by priority, then as given."""
    models = list(models)
    return [queue_name(model, priority) for priority in get_args(Priority) for model in models]


def queue_bell(model: str) -> str:
    """Rings when a job of this model is queued."""
    return f"darkroom:bell:model:{model}"


def engine_bell(engine: str) -> str:
    """Rings when a job that this engine holds is canceled."""
    return f"darkroom:bell:engine:{engine}"


class Queue:
    """Submit, claim, beat, finish, release, reap, cancel, and reading. Safe to use from threads."""

    def __init__(
        self,
        redis: Redis,
        *,
        lease_s: float = 15.0,
        max_attempts: int = 5,
        max_queued: int = 1000,
        retention_s: float = 7 * 86400,
    ) -> None:
        self.redis = redis
        self.lease_s = lease_s
        self._max_queued = max_queued
        texts = scripts(lease_s, max_attempts, retention_s)
        self._scripts = {name: redis.register_script(text) for name, text in texts.items()}

    @classmethod
    def of(cls, redis: Redis, settings: Settings) -> "Queue":
        """The queue as the settings want it; all processes have to agree on them."""
        return cls(
            redis,
            lease_s=settings.lease_s,
            max_attempts=settings.max_attempts,
            max_queued=settings.max_queued,
            retention_s=settings.retention_s,
        )

    # The service

    def submit(
        self,
        request: Mapping[str, Any],
        *,
        model: str,
        priority: Priority = "normal",
        job_id: str | None = None,
        warnings: Sequence[str] = (),
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        parent_id: str | None = None,
        deadline_s: float | None = None,
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        owner: str = "",
        max_active: int | None = None,
    ) -> Submitted:
        """Accept a job.

        `deadline_s`: seconds from now; a job that is still queued then is canceled.
        `idempotency_key`: scoped by `owner`, kept for 24 h or as long as the job, if that is less;
        `fingerprint` is a hash of the body that came with it.
        `max_active`: how many queued and running jobs the owner may have.

        Raises QueueFullError, TooManyActiveJobsError, IdempotencyMismatchError.
        """
        job_id = job_id or new_job_id()
        verdict, answer = self._call(
            "submit",
            job_id,
            model,
            priority,
            owner,
            _idempotency_key(owner, idempotency_key),
            fingerprint or "",
            _or_empty(max_active),
            self._max_queued,
            _or_empty(deadline_s),
            JSONSerializer.dumps([FUNCTION, None, [request], {}]),
            f"{request.get('task', 'job')} with {model}",
            json.dumps(list(warnings)),
            json.dumps(list(tags)),
            json.dumps(metadata or {}),
            parent_id or "",
        )
        match verdict:
            case b"mismatch":
                raise IdempotencyMismatchError(
                    f"This idempotency key belongs to job {answer.decode()}, whose body differed."
                )
            case b"too_many":
                raise TooManyActiveJobsError(f"{answer} of your jobs are queued or running.")
            case b"full":
                raise QueueFullError(f"{answer} jobs are queued, which is all that may wait.")
        job = read_job(answer, job_id)
        # A key may also replay our own call, sent again by the client library.
        return Submitted(job, replayed=verdict == b"replayed" and job.id != job_id)

    def fetch(self, job_id: str) -> Job:
        """Read a job. Raises JobNotFoundError, or ExpiredError after its retention."""
        return read_job(self._call("fetch", job_id), job_id)

    def cancel(self, job_id: str) -> Job:
        """End a queued or running job as canceled; an ended one stays as it is.

        Raises JobNotFoundError, ExpiredError."""
        return read_job(self._call("cancel", job_id), job_id)

    def delete(self, job_id: str) -> list[str]:
        """Remove a job, canceling it first if it has not ended; returns the ids of its images.

        Raises JobNotFoundError, also afterwards."""
        images = self._call("delete", job_id)
        if images is None:
            raise JobNotFoundError(f"No job has the id {job_id[:50]!r}.")
        return image_ids(images)

    def queues(self) -> list[QueueState]:
        """Every queue that ever got a job, by name."""
        return [
            QueueState(name.decode(), queued, running, float(age), workers)
            for name, queued, running, age, workers in self._call("queues")
        ]

    def counters(self) -> dict[tuple[str, ...], int]:
        """Events counted by all processes since Redis was set up, such as ("submitted", model),
        ("finished", model, status, error code or ""), ("fenced",), ("reaped",), ("released",)."""
        with translated():
            counters = self.redis.hgetall("darkroom:counters")
        return {tuple(name.decode().split("|")): int(n) for name, n in counters.items()}

    # The engine

    def claim(
        self,
        *,
        engine: str,
        worker: str,
        queues: Sequence[str],
        token: str,
        min_wait_s: float = 0.0,
        age_limit_s: float = 30.0,
    ) -> Claim | None:
        """Lease the next job: the head of the first of `queues` that has one, except that a head
        accepted more than `age_limit_s` seconds ago goes first, the oldest of them.

        `token`: a new name (letters, digits, `_`, `-`) for this claim; a call repeated with it, its
        answer having been lost, gets the same job. `min_wait_s`: leave younger heads to others.
        A job whose data nobody can read fails as `malformed_job` and is passed over.
        """
        while found := self._call("claim", engine, worker, token, min_wait_s, age_limit_s, *queues):
            job_id, fields = found[0].decode(), read_fields(found[-1])
            deadline = _float(fields.get("dr_deadline"))
            claim = Claim(
                job_id=job_id,
                token=token,
                request={},
                attempt=int(fields["dr_attempt"]),
                remaining_s=deadline and deadline - float(found[1]),
                queued_s=float(fields["dr_started"]) - float(fields["dr_queued"]),
                priority=fields["dr_priority"],
            )
            try:
                return replace(claim, request=read_request(fields["data"]))
            except ValueError as error:
                log.warning("job_unreadable", job_id=job_id, reason=str(error))
                self.finish(claim, JobStatus.FAILED, error=MALFORMED)
        return None

    def beat(self, engine: str, claims: Iterable[Claim]) -> Held:
        """Extend the leases of all claims that this engine still works on.

        Jobs that Redis thinks it holds, but that it did not name and neither claimed nor beat for
        half a lease, are queued again, their attempt not counted."""
        named = [part for claim in claims for part in (claim.job_id, claim.token)]
        lost, canceled, forgotten = self._call("beat", engine, *named)
        return Held(_texts(lost + canceled), _texts(canceled), _texts(forgotten))

    def progress(self, claim: Claim, progress: Progress) -> bool:
        """Note how far the job is. False: the claim is no longer the engine's."""
        return bool(self._call("progress", claim.job_id, claim.token, progress.model_dump_json()))

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        *,
        images: Sequence[ImageRecord] = (),
        error: JobError | None = None,
        warnings: Sequence[str] = (),
        timings: Timings | None = None,
        memory: str | None = None,
        progress: Progress | None = None,
    ) -> Finish:
        """End the job with a terminal status and its result, once.

        "already": this claim has committed before, and its answer was lost; the first call counts.
        "fenced": the claim is no longer the engine's, and nothing was changed."""
        if not status.terminal:
            raise ValueError(f"{status} ends no job")
        rows = [image.model_dump_json() for image in images]
        answer = self._call(
            "finish",
            claim.job_id,
            claim.token,
            status,
            error.model_dump_json() if error else "",
            f"[{','.join(rows)}]",
            json.dumps(list(warnings)),
            timings.model_dump_json() if timings else "",
            memory or "",
            progress.model_dump_json() if progress else "",
            *rows,
        )
        return answer.decode()

    def release(self, claim: Claim) -> bool:
        """Give the job back to the head of its queue, its attempt not counted.
        False: the claim is no longer the engine's."""
        return bool(self._call("release", claim.job_id, claim.token))

    def reap(self, engine: str | None = None) -> int:
        """Put jobs whose lease has ended, or all jobs of one dead engine, back at the head of their
        queues; those that used up their attempts fail as `poison`. Returns how many."""
        reaped, more = 0, True
        while more:
            seen, count = self._call("reap", engine or "")
            reaped += count
            more = seen >= _BATCH
        return reaped

    # The keeper

    def expire_deadlines(self) -> list[str]:
        """Cancel queued jobs whose deadline has passed; returns their ids."""
        return [job_id.decode() for job_id in self._until_few("deadlines")]

    def sweep_retention(self) -> dict[str, list[str]]:
        """Forget ended jobs whose retention has passed; returns the ids of their images, by job."""
        flat = self._until_few("retention", width=2)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {job_id.decode(): image_ids(images) for job_id, images in pairs}

    def image_ids(self) -> set[str]:
        """Ids of the images of all jobs there are."""
        return {found for records in self._all("dr_images") for found in image_ids(records)}

    def input_ids(self) -> set[str]:
        """Ids of the input pictures of all jobs there are."""
        return {found for data in self._all("data") for found in input_ids(data)}

    def store_mark(self) -> str | None:
        """What the image store of these jobs is marked with; None if there is none yet."""
        with translated():
            mark = self.redis.get(_STORE_MARK)
        return mark.decode() if isinstance(mark, bytes) else None

    def new_store_mark(self) -> str:
        """The mark of the store, drawn now if there is none yet."""
        with translated():
            self.redis.set(_STORE_MARK, secrets.token_hex(16), nx=True)
        return self.store_mark() or ""

    def _all(self, field: str) -> Iterator[bytes]:
        """One field of all jobs that have it."""
        with translated():
            job_ids = self.redis.zrange("darkroom:jobs", 0, -1)
            for start in range(0, len(job_ids), _SCAN):
                with self.redis.pipeline(transaction=False) as pipe:
                    for job_id in job_ids[start : start + _SCAN]:
                        pipe.hget(f"rq:job:{job_id.decode()}", field)
                    yield from filter(None, pipe.execute())

    # Doorbells

    def wait(self, bells: Sequence[str], timeout_s: float) -> str | None:
        """Block until one of the bells rings; returns its name, or None after `timeout_s` seconds
        (4 at most). A ring says only that it may be worth looking; one can get lost."""
        timeout_s = min(max(timeout_s, 0.01), SOCKET_TIMEOUT_S - 1)
        with translated():
            rung = self.redis.blpop(list(bells), timeout=timeout_s)
        return rung[0].decode() if rung else None

    def _call(self, script: str, *args: str | bytes | float) -> Any:
        with translated():
            return self._scripts[script](args=args)

    def _until_few(self, script: str, width: int = 1) -> list[bytes]:
        found: list[bytes] = []
        while True:
            rows = self._call(script)
            found += rows
            if len(rows) < _BATCH * width:
                return found

    # Last, because its name hides the built-in type from what stands below it.

    def list(
        self,
        *,
        status: JobStatus | None = None,
        model: str | None = None,
        tag: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Jobs that match, newest first. Raises ValueError for a cursor that was never given out.

        There is no index per filter: one call looks at up to 5,000 jobs, in at most 10 round trips;
        if that finds fewer than `limit`, the page is short and the cursor goes on from there.
        """
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ValueError(f"{cursor[:50]!r} is no cursor of this list")
        before = cursor or ""
        found: list[Job] = []
        for _ in range(_PAGE_SCANS):
            args = (status.rq if status else "", model or "", tag or "")
            last, rows = self._call("list", before, limit - len(found), *args, _SCAN)
            found += read_jobs(rows)
            before = last.decode()
            if not before or len(found) >= limit:
                break
        return Page(found, before or None)


def _float(text: str | None) -> float | None:
    return float(text) if text else None


def _texts(parts: Iterable[bytes]) -> frozenset[str]:
    return frozenset(part.decode() for part in parts)


def _or_empty(number: float | None) -> str:
    return "" if number is None else str(number)


def _idempotency_key(owner: str, key: str | None) -> str:
    """One name for owner and key, whatever characters they hold; "" without a key."""
    if key is None:
        return ""
    return f"darkroom:idem:{hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest()}"
