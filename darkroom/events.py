"""The kinds of events of a job and what each tells; used by all processes, knows no Redis, no HTTP.

The scripts of `queue/lua/` write them, but for `error` and `missed`, which the service sends; the
streams of events are read by clients.
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


class Previewed(Frozen):
    """There is another early picture of a running job, in place of the one before."""

    url: str
    """Where it can be had, as WebP, for as long as the job runs."""
    width: int
    """Pixels, 256 at most."""
    height: int
    """Pixels, 256 at most."""
    step: int
    """After how many denoising steps it was taken."""
    steps: int
    """How many the job makes."""


class Logged(Frozen):
    """Something about a running job that it did not say when it was accepted, as it turns out."""

    level: Literal["warning", "info"]
    """warning: the picture may not be as you think; this is one of the job's `warnings`, too. info:
    how it is made, such as what was done because memory was short."""
    message: str
    """A sentence for people."""


class Ended(Frozen):
    """The job is in a terminal status; the last event of every job
    that is not deleted before."""

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


class Missed(Frozen):
    """Events may be lost that came after the last one you had: look at your jobs anew. Only in the
    stream of all jobs."""

    message: str
    """What to do, for people."""


EVENTS: dict[str, type[BaseModel]] = {
    "status": StatusChanged,
    "progress": Progress,
    "preview": Previewed,
    "image": ImageRecord,
    "log": Logged,
    "done": Ended,
    "error": Interrupted,
    "missed": Missed,
}
"""What `data` of an event of each kind is, as JSON."""


def kind_of(event: BaseModel) -> str:
    """Raises LookupError for what is no event."""
    return {cls: kind for kind, cls in EVENTS.items()}[type(event)]
