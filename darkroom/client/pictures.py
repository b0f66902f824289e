"""The pictures of a job as clients get them, or why there are none; sends nothing."""

from dataclasses import dataclass

from darkroom.client.refusals import of_code
from darkroom.errors import DarkroomError
from darkroom.job import ImageRecord, Job, JobStatus


@dataclass(frozen=True)
class Picture:
    """A finished picture."""

    record: ImageRecord
    """Its size, seed, format and hash."""
    data: bytes
    """The file."""


class NoPicturesError(DarkroomError):
    """A job ended without pictures. `code` is that of its error, and where `darkroom.errors` has a
    class with that code, the error is one of it, too."""

    def __init__(self, job: Job) -> None:
        why = f": {job.error.message} ({job.error.code})" if job.error else ""
        Exception.__init__(self, f"{job.id} {job.status}{why}")
        self.job = job
        self.code = job.error.code if job.error else str(job.status)
        self.retryable = bool(job.error and job.error.retryable)


def kept_pictures(job: Job) -> list[ImageRecord]:
    """The pictures of a job that has ended which can be had: not those that were withheld.

    Raises NoPicturesError unless it has succeeded."""
    if job.status is JobStatus.SUCCEEDED:
        return job.kept
    raise of_code(job.error.code if job.error else "", NoPicturesError)(job)
