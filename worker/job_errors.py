"""What a client is told of an error that ended a job; engine side, knows no Redis."""

from darkroom.errors import DarkroomError, DeviceMemoryError
from darkroom.job import JobError
from worker.running import RunningJob


def unexpected(error: BaseException) -> JobError:
    """What a client is told of an error that we did not foresee. Messages of libraries can hold
    the prompt; the log has the trace, the client gets the class. It would come again: what passes
    by itself, such as a Redis or a store that is away, has errors of its own."""
    message = f"The job ended with an unexpected {type(error).__name__}; the worker's log has more."
    return JobError(code="internal", message=message)


def job_error(error: BaseException) -> JobError:
    """What a client is told of an error that ended a job."""
    if isinstance(error, DarkroomError):
        return JobError(code=error.code, message=str(error), retryable=error.retryable)
    return unexpected(error)


def too_large(job: RunningJob, error: DeviceMemoryError, *, retryable: bool) -> DeviceMemoryError:
    """What a client is told when nothing made a call of the job fit into memory. `retryable`:
    whether others had a part of the memory."""
    request = job.request
    return DeviceMemoryError(
        f"The model {request.model!r} has too little memory for {request.num_images} x "
        f"{job.work.size[0]} x {job.work.size[1]}: {error}, and nothing that was tried helped. "
        "Ask for a smaller size or fewer pictures.",
        retryable=retryable,
    )
