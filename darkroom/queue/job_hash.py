"""A job's hash in Redis as Job; used by the queue alone.

The hash is RQ's, with fields of ours beside it; `lua/` writes it.
"""

import contextlib
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from darkroom import logs
from darkroom.errors import ExpiredError, JobNotFoundError
from darkroom.job import (
    INPUT_ID,
    PAUSED,
    UNKNOWN_WORK_S,
    ImageRecord,
    Job,
    JobError,
    JobStatus,
    Progress,
    QueuePlace,
    Stage,
    Timings,
)
from darkroom.webhook import Webhook

log = logs.get("queue")

FUNCTION = "darkroom.queue.only_a_darkroom_worker_runs_this"
"""The function name in every job; nothing looks it up but a plain RQ worker, where it raises."""

LONGEST_DATA = 10 * 2**20
"""Bytes; far more than any request."""

UNREADABLE = (
    *(ValueError, KeyError, TypeError, AttributeError),
    *(OverflowError, OSError),  # moments beyond the calendar
    RecursionError,
)
"""What reading something raises that Darkroom did not write."""

_Model = TypeVar("_Model", bound=BaseModel)


def read_job(answer: list[Any], job_id: str = "", owner: str | None = None) -> Job:
    """The job out of what `view` of the prelude returns; where an `owner` is given, only theirs.
    Raises JobNotFoundError, ExpiredError."""
    raw_id, now, gone, position, flat = answer
    fields = read_fields(flat)
    try:
        expires = float(fields.get("dr_expires", "inf"))
    except ValueError:
        expires = 0.0
    if owner is not None and fields.get("dr_owner", "") != owner:
        raise JobNotFoundError(f"No job has the id {job_id[:50]!r}.")
    if gone or expires <= float(now):
        raise ExpiredError(f"Job {job_id} and its images were kept for their time and are gone.")
    if "dr_created" not in fields:
        raise JobNotFoundError(f"No job has the id {job_id[:50]!r}.")
    try:
        return _from_fields(_text(raw_id), fields, position)
    except UNREADABLE as error:
        log.warning("job_unreadable", job_id=_text(raw_id), reason=type(error).__name__)
        raise JobNotFoundError(f"Job {job_id[:50]!r} cannot be read.") from error


def read_jobs(answers: Iterable[list[Any]]) -> Iterator[Job]:
    """The jobs among the answers that can be read."""
    for answer in answers:
        with contextlib.suppress(JobNotFoundError, ExpiredError):
            yield read_job(answer)


def _from_fields(job_id: str, fields: dict[str, str], position: int) -> Job:
    status = JobStatus.from_rq(fields["status"])
    queued = status is JobStatus.QUEUED
    return Job(
        id=job_id,
        status=status,
        request=read_request(fields["data"]),
        progress=_parse(Progress, fields.get("dr_progress")),
        queue=_place(fields, position) if queued else None,
        images=[ImageRecord.model_validate(row) for row in _json(fields, "dr_images", [])],
        warnings=_json(fields, "dr_warnings", []) + _json(fields, "dr_end_warnings", []),
        error=_parse(JobError, fields.get("dr_error")),
        timings=_timings(fields, status),
        worker=fields.get("worker_name"),
        attempts=int(fields["dr_attempt"]),
        memory=fields.get("dr_memory"),
        priority=fields["dr_priority"],
        tags=_json(fields, "dr_tags", []),
        starred=fields.get("dr_starred") == "1",
        metadata=_json(fields, "dr_metadata", {}),
        parent_id=fields.get("dr_parent"),
        batch_id=fields.get("dr_batch"),
        webhook=_webhook(fields),
        ttl_s=int(fields["dr_ttl"]) if "dr_ttl" in fields else None,
        created_at=_moment(fields["dr_created"]),
        started_at=_moment(fields.get("dr_started")),
        finished_at=_moment(fields.get("dr_ended")),
        expires_at=_moment(fields.get("dr_expires")),
    )


def _webhook(fields: dict[str, str]) -> Webhook | None:
    kept = _json(fields, "dr_webhook", None)
    return Webhook.of_kept(kept) if kept else None


def _place(fields: Mapping[str, str], position: int) -> QueuePlace:
    return QueuePlace(
        name=fields["origin"],
        position=position,
        reason=PAUSED if "dr_paused" in fields else None,
        work_s=read_work_s(fields),
    )


def read_work_s(fields: Mapping[str, str]) -> float:
    """Seconds that a job is likely to take alone."""
    try:
        work_s = float(fields.get("dr_work", ""))
    except ValueError:
        return UNKNOWN_WORK_S
    return work_s if 0 < work_s < math.inf else UNKNOWN_WORK_S


def read_weight(fields: Mapping[str, str]) -> float:
    """How much is due to its owner where 1 is due to others; of a job that was claimed."""
    try:
        weight = float(fields.get("dr_weight", ""))
    except ValueError:
        return 1.0
    return weight if 1 <= weight < math.inf else 1.0


def _timings(fields: Mapping[str, str], status: JobStatus) -> Timings | None:
    """As its last engine told; of a job that ended without one, what the queue knows."""
    if not status.terminal or "dr_timings" in fields or "dr_ended" not in fields:
        return _parse(Timings, fields.get("dr_timings"))
    spent = read_spent(fields)
    total = float(fields["dr_ended"]) - float(fields["dr_created"])
    queued = max(total - sum(spent.values()), 0.0)
    device = read_device_s(fields) or None
    return Timings(queued=round(queued, 4), total=round(total, 4), device=device, **spent)


def read_request(data: str) -> dict[str, Any]:
    """What the client asked, out of RQ's [function, instance, arguments, keywords].
    Raises ValueError for anything that Darkroom did not write."""
    try:
        call = json.loads(data)
    except RecursionError:
        raise ValueError("its data is nested too deeply") from None
    match call:
        case [name, None, [dict(request)], dict(keywords)] if name == FUNCTION and not keywords:
            return request
    raise ValueError("its data is not a call of Darkroom's function")


def call_of(request: Mapping[str, Any]) -> str:
    """The call that RQ's tools see in the job's hash, as its JSONSerializer and `read_request` read
    it."""
    return as_json([FUNCTION, None, [request], {}])


def as_json(value: Any) -> str:
    """Every character as itself: an emoji takes 4 bytes, where an escape would take 12."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_spent(fields: Mapping[str, str]) -> dict[str, float]:
    """Seconds by stage that attempts told of; none of what Darkroom did not write."""
    told = _told(fields)
    spent = {stage: getattr(told, stage) for stage in get_args(Stage)}
    return {
        stage: each for stage, each in spent.items() if each is not None and 0 <= each < math.inf
    }


def read_device_s(fields: Mapping[str, str]) -> float:
    """Seconds on devices that attempts told of."""
    device = _told(fields).device or 0.0
    return device if 0 < device < math.inf else 0.0


def _told(fields: Mapping[str, str]) -> Timings:
    try:
        return Timings.model_validate_json(fields.get("dr_spent", "{}"))
    except ValueError:
        return Timings()


def read_warnings(fields: Mapping[str, str]) -> tuple[str, ...]:
    """What the client was told when the job was accepted."""
    try:
        warnings = json.loads(fields.get("dr_warnings", "[]"))
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, warnings)) if isinstance(warnings, list) else ()


def read_fields(flat: list[bytes]) -> dict[str, str]:
    """The hash out of names and values in turn."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {
        _text(name): _text(_inflate(value) if name == b"data" else value) for name, value in pairs
    }


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _inflate(data: bytes) -> bytes:
    """RQ's own tools compress the data when they save a job."""
    try:
        return zlib.decompressobj().decompress(data, LONGEST_DATA)
    except zlib.error:
        return data


def _json(fields: dict[str, str], name: str, default: Any) -> Any:
    return json.loads(fields[name]) if name in fields else default


def _parse(model: type[_Model], text: str | None) -> _Model | None:
    return model.model_validate_json(text) if text else None


def _moment(unix: str | None) -> datetime | None:
    return datetime.fromtimestamp(float(unix), UTC) if unix else None


def image_ids(records: bytes) -> list[str]:
    """The ids in the JSON of image records, or in nothing."""
    try:
        return [str(record["id"]) for record in json.loads(records or b"[]")]
    except UNREADABLE:
        return []


def input_ids(data: bytes) -> list[str]:
    """The ids of input pictures in a request, as it is stored."""
    return INPUT_ID.findall(_inflate(data).decode(errors="replace"))
