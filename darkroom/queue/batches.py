"""Jobs that are asked for together, accepted, read, canceled and deleted as one; sends nothing
itself.

Each function is an exchange (`exchange.py`). Where an `owner` is given, batches of all others are
as if they were not there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from darkroom import logs
from darkroom.batch import Batch, BatchJob, Grid, cells, new_batch_id
from darkroom.errors import BatchNotFoundError
from darkroom.job import ImageRecord, JobError, JobStatus
from darkroom.queue.accepting import NewJob, Terms, check_verdict
from darkroom.queue.exchange import Exchange, run
from darkroom.queue.job_hash import UNREADABLE, as_json, image_ids
from darkroom.queue.jobs import given
from darkroom.queue.request_rates import Rate, read_rate

log = logs.get("queue")


@dataclass(frozen=True)
class SubmittedBatch:
    """`replayed`: an earlier batch with the same idempotency key is returned, nothing is new."""

    batch: Batch
    replayed: bool
    rate: Rate | None = None
    """What the owner has left of their requests, where those are counted and several were taken."""


def submit(
    new: Sequence[NewJob], terms: Terms, grid: Grid | None = None, batch_id: str | None = None
) -> Exchange[SubmittedBatch]:
    """Accept all of these jobs, one at least, or none. `grid`: whose cells they are, in order.

    Raises what `jobs.submit` does, and RateLimitedError."""
    batch_id = batch_id or new_batch_id()
    work_s = sum(each.cost_s for each in new)
    about = terms.words(len(new), work_s, batch_id, as_json(grid) if grid else "")
    words = [word for each in new for word in each.words]
    verdict, answer, *rates = yield from run("submit", *about, *words)
    check_verdict(verdict, answer, terms, len(new))
    batch = _read(answer)
    replayed = verdict == b"replayed" and batch.id != batch_id
    rate = read_rate(rates[0], terms.per_minute) if rates and terms.per_minute else None
    return SubmittedBatch(batch, replayed, rate)


def ask(size: int, terms: Terms, work_s: float = 0.0) -> Exchange[SubmittedBatch | None]:
    """What `submit` would answer now to so many jobs, of so much work, without accepting any: the
    batch that an idempotency key belongs to, None if a new one would be accepted. Raises what
    `submit` raises."""
    verdict, *answer = yield from run("submit", *terms.words(size, work_s, new_batch_id()))
    if verdict == b"room":
        return None
    check_verdict(verdict, answer[0], terms, size)
    return SubmittedBatch(_read(answer[0]), replayed=True)


def fetch(batch_id: str, *, owner: str | None = None) -> Exchange[Batch]:
    """Raises BatchNotFoundError, also when all of its jobs are gone."""
    return _read_or_raise((yield from run("batch", batch_id, *given(owner))), batch_id)


def cancel(batch_id: str, *, owner: str | None = None) -> Exchange[Batch]:
    """End all of its queued and running jobs as canceled; others stay as they are.

    Raises BatchNotFoundError."""
    return _read_or_raise((yield from run("cancel_batch", batch_id, *given(owner))), batch_id)


def delete(batch_id: str, *, owner: str | None = None) -> Exchange[list[str]]:
    """Remove all of its jobs, canceling first what has not ended; returns the ids of their images.

    Raises BatchNotFoundError, also afterwards."""
    records = yield from run("delete_batch", batch_id, *given(owner))
    if records is None:
        raise _none(batch_id)
    return [found for each in records for found in image_ids(each)]


def _read_or_raise(answer: list[Any] | None, batch_id: str) -> Batch:
    if answer is None:
        raise _none(batch_id)
    return _read(answer)


def _none(batch_id: str) -> BatchNotFoundError:
    return BatchNotFoundError(f"No batch has the id {batch_id[:50]!r}.")


def _read(answer: list[Any]) -> Batch:
    """The batch out of what `view_batch` of the prelude returns."""
    batch_id, now, (created, grid), rows = answer
    values = json.loads(grid) if grid else None
    places = cells(values) if values else [None] * len(rows)
    return Batch(
        id=batch_id.decode(),
        grid=values,
        jobs=[_job(row, at, float(now)) for row, at in zip(rows, places, strict=True)],
        created_at=datetime.fromtimestamp(float(created), UTC),
    )


def _job(row: list[Any], at: dict[str, int] | None, now: float) -> BatchJob:
    job_id, fields = row[0].decode(), row[1]
    gone = BatchJob(id=job_id, status=None, at=at, url=f"/api/v1/jobs/{job_id}")
    try:
        return gone.model_copy(update=_shown(fields, now))
    except UNREADABLE as error:
        log.warning("job_unreadable", job_id=job_id, reason=type(error).__name__)
        return gone


def _shown(fields: list[bytes | None], now: float) -> dict[str, Any]:
    """What shows how far a job is; nothing if it is gone."""
    status, expires, images, error, warnings, end_warnings = fields
    if status is None or (expires and float(expires) <= now):
        return {}
    records = [ImageRecord.model_validate(each) for each in json.loads(images or b"[]")]
    return {
        "status": JobStatus.from_rq(status.decode()),
        "images": [each.url for each in records if each.url],
        "warnings": json.loads(warnings or b"[]") + json.loads(end_warnings or b"[]"),
        "error": JobError.model_validate_json(error) if error else None,
    }
