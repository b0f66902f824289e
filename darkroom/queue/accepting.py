"""What a job is accepted with, alone or in a batch, on which terms, and why it is refused; used by
the queue alone, sends nothing itself."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from darkroom.errors import (
    GpuBudgetError,
    IdempotencyMismatchError,
    QueueFullError,
    RateLimitedError,
    TooManyActiveJobsError,
    TooManyQueuedJobsError,
)
from darkroom.input_images import input_images
from darkroom.job import UNKNOWN_WORK_S, Priority, new_job_id
from darkroom.queue.calls import NO_CALL, Call
from darkroom.queue.exchange import Word
from darkroom.queue.job_hash import as_json, call_of
from darkroom.queue.request_rates import read_rate
from darkroom.webhook import Webhook


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to be accepted. What each means is at `jobs.submit`."""

    request: Mapping[str, Any]
    model: str
    id: str = field(default_factory=new_job_id)
    priority: Priority = "normal"
    warnings: Sequence[str] = ()
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None
    deadline_s: float | None = None
    work_s: float | None = None
    parent_id: str | None = None
    webhook: Mapping[str, Any] | None = None
    ttl_s: int | None = None
    preview: int | None = None

    @property
    def cost_s(self) -> float:
        """Seconds of work that it is charged with."""
        return UNKNOWN_WORK_S if self.work_s is None else self.work_s

    @property
    def words(self) -> tuple[Word, ...]:
        """As the script reads it."""
        inputs = dict.fromkeys(input_images(self.request).values())
        return (
            self.id,
            self.model,
            self.priority,
            _or_empty(self.deadline_s),
            call_of(self.request),
            f"{self.request.get('task', 'job')} with {self.model}",
            as_json(list(self.warnings)),
            as_json(list(self.tags)),
            as_json(self.metadata or {}),
            "" if self.work_s is None else f"{self.work_s:.3f}",
            self.parent_id or "",
            as_json(Webhook.model_validate(self.webhook).kept()) if self.webhook else "",
            _or_empty(self.ttl_s),
            "" if self.preview is None else int(self.preview),
            len(inputs),
            *inputs,
        )


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On which jobs are accepted, one or several. What each means is at `jobs.submit`."""

    owner: str = ""
    idempotency_key: str | None = None
    fingerprint: str | None = None
    max_active: int | None = None
    max_queued: int | None = None
    gpu_seconds_per_day: int | None = None
    per_minute: int | None = None
    """How many requests the owner may make in a minute, of which each job of a batch is one. The
    first was taken before."""
    call: Call | None = None
    """Of the client who waits for the job, where one does; see `calls.py`."""

    def words(
        self, size: int, work_s: float, batch_id: str = "", grid: str = ""
    ) -> tuple[Word, ...]:
        """As the script reads them for so many jobs, of so much work in all."""
        return (
            self.owner,
            _idempotency_key(self.owner, self.idempotency_key),
            self.fingerprint or "",
            _or_empty(self.max_active),
            _or_empty(self.max_queued),
            _or_empty(self.gpu_seconds_per_day),
            f"{work_s:.3f}",
            _or_empty(self.per_minute),
            batch_id,
            grid,
            size,
            *(self.call.words(self.owner) if self.call else NO_CALL),
        )


def check_verdict(verdict: bytes, answer: Any, terms: Terms, size: int = 1) -> None:
    """Raises why so many jobs were refused, if they were."""
    more = f" The {size} of this batch would be too many." if size > 1 else ""
    match verdict:
        case b"mismatch":
            known = answer.decode()
            whose = known if known.startswith("batch_") else f"job {known}"
            raise IdempotencyMismatchError(
                f"This idempotency key belongs to {whose}, whose body differed."
            )
        case b"too_many":
            raise TooManyActiveJobsError(f"{answer} of your jobs are queued or running.{more}")
        case b"too_many_queued":
            all_of_them = "" if more else ", as many as may be"
            raise TooManyQueuedJobsError(f"{answer} of your jobs are queued{all_of_them}.{more}")
        case b"full":
            all_of_them = "" if more else ", which is all that may wait"
            raise QueueFullError(f"{answer} jobs are queued{all_of_them}.{more}")
        case b"over_budget":
            spent_ms, day_ends_s, work_s = answer
            most = terms.gpu_seconds_per_day or 0
            left_s = max(most - spent_ms / 1000, 0.0)
            what = "the jobs of this batch take" if size > 1 else "this job takes"
            raise GpuBudgetError(
                f"{left_s:.1f} of your {most} GPU seconds of this day (UTC) are left; {what} about "
                f"{float(work_s):.1f}.",
                day_ends_s,
            )
        case b"rate_limited":
            rate = read_rate(answer, terms.per_minute or 1, wanted=size - 1)
            detail = f"This API key may make {rate.per_minute} requests a minute.{more}"
            raise RateLimitedError(detail, rate.retry_s)


def _or_empty(number: float | None) -> str:
    return "" if number is None else str(number)


def _idempotency_key(owner: str, key: str | None) -> str:
    """One name for owner and key, whatever characters they hold; "" without a key."""
    if key is None:
        return ""
    return f"darkroom:idem:{hashlib.sha256(json.dumps([owner, key]).encode()).hexdigest()}"
