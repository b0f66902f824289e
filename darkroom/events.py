"""The kinds of events of a job and what each tells; used by all processes, knows no Redis, no HTTP.

The scripts of `queue/lua/` write them, but for `error`, which the service sends; a job's stream of
events is read by clients.
"""

from typing import Literal

from pydantic import BaseModel

from darkroom.job import Frozen, ImageRecord, Job, JobStatus, Progress


class StatusChanged(Frozen):
    """The job is queued, at first or again, or an engine took it."""

    status: Literal[JobStatus.QUEUED, JobStatus.RUNNING]
    """What the job is now."""
    attempt: int | None = None
    """Which time it runs, 1 the first; only with `running`."""


class Ended(Frozen):
    """The job is in a terminal status; the last event of every job."""

    status: Literal[JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED]
    """How it ended."""
    code: str | None
    """That of its error, if it has one."""
    job: Job | None = None
    """The whole job, as it is then; null if it was deleted, or while it cannot be read."""


class Interrupted(Frozen):
    """The stream ends early, the job goes on: come back with the last event's id."""

    code: str
    """Why, for programs."""
    message: str
    """Why, for people."""
    retryable: bool = True
    """Whether to come back."""


EVENTS: dict[str, type[BaseModel]] = {
    "status": StatusChanged,
    "progress": Progress,
    "image": ImageRecord,
    "done": Ended,
    "error": Interrupted,
}
"""What `data` of an event of each kind is, as JSON."""


def kind_of(event: BaseModel) -> str:
    """Raises LookupError for what is no event."""
    return {cls: kind for kind, cls in EVENTS.items()}[type(event)]
