"""Every error Darkroom raises on purpose; used by all processes, knows neither HTTP nor torch.

DarkroomError
├── MalformedRequestError        malformed_request        unreadable JSON or encoding
├── PayloadTooLargeError         payload_too_large        a body is larger than is read
├── InvalidRequestError          invalid_parameters       one or more fields are wrong
├── InvalidImageError            invalid_input_image      an input image cannot be read
├── UnsupportedError             unsupported              the model cannot do what was asked
├── UploadsOffError              uploads_off              the operator allows no uploads
├── UnauthenticatedError         unauthenticated          no API key, or none that is valid
├── ForbiddenError               forbidden                the API key lacks a scope
├── NotFoundError
│   ├── JobNotFoundError         job_not_found
│   ├── BatchNotFoundError       batch_not_found
│   ├── ImageNotFoundError       image_not_found
│   ├── ModelNotFoundError       model_not_found
│   ├── LoraNotFoundError        lora_not_found
│   ├── WorkerNotFoundError      worker_not_found
│   └── NoSuchFileError          file_not_found
├── ExpiredError                 expired                  it existed, retention has passed
├── FilesFullError               files_full               the files of one owner take all they may
├── IdempotencyMismatchError     idempotency_mismatch     same key, another body
├── OverloadError
│   ├── QueueFullError           queue_full
│   ├── TooManyActiveJobsError   too_many_active_jobs     of one owner, queued or running
│   ├── TooManyQueuedJobsError   too_many_queued_jobs     of one owner
│   ├── RateLimitedError         rate_limited             requests per minute of one API key
│   │   └── GpuBudgetError       gpu_budget_spent         its GPU seconds per day
│   └── TooManyAtOnceError       too_many_at_once         connections or waits of one address
├── BusyError                    busy                     connections, waits or bodies in all
│   └── DecodersBusyError        decoders_busy            too many pictures are being decoded
├── DependencyError
│   ├── QueueUnavailableError    queue_unavailable        Redis is away or out of memory
│   └── StoreUnavailableError    store_unavailable        the image store cannot be used
└── JobFailure                   internal                 how an accepted job can end as failed
    ├── DeviceMemoryError        out_of_memory
    ├── ModelLoadError           model_load_failed
    ├── InvalidOutputError       invalid_output           NaN or infinite pixels
    ├── SafetyBlockedError       safety_blocked           all pictures were withheld
    ├── PoisonError              poison                   it took its worker down too often
    └── MalformedJobError        malformed_job            what is stored of it cannot be read

JobInterrupt (BaseException)     thrown into a running job; no `except Exception` may swallow it
├── Canceled                     a client canceled it
├── DeadlineExceeded             deadline_exceeded
├── LeaseLost                    another engine owns it now
└── Released                     given back to the queue, on drain
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One thing wrong in a request: a JSON pointer (RFC 6901), a sentence, a stable code."""

    pointer: str
    detail: str
    code: str


class DarkroomError(Exception):
    """Base of all. `code` is stable for clients; `retryable` says whether a repeat may succeed."""

    code: str = "internal"
    retryable: bool = False


class MalformedRequestError(DarkroomError):
    code = "malformed_request"


class PayloadTooLargeError(DarkroomError):
    code = "payload_too_large"


class InvalidRequestError(DarkroomError):
    """At most 50 of `errors` are told, the last of them how many more there are; the message holds
    the first three. Pointers and sentences are cut where a client made them long."""

    code = "invalid_parameters"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        told = [
            FieldError(cut(e.pointer, LONGEST_POINTER), cut(e.detail, LONGEST_SENTENCE), e.code)
            for e in errors[:MOST_ERRORS]
        ]
        if more := len(errors) - len(told):
            told.append(FieldError("", f"And {more} more.", "more"))
        sentences = [f"{e.pointer or '/'}: {e.detail}" for e in told[:SUMMED_UP]]
        if more := len(errors) - len(sentences):
            sentences.append(f"And {more} more.")
        super().__init__(" ".join(sentences))
        self.errors = tuple(told)


MOST_ERRORS, SUMMED_UP = 50, 3
LONGEST_POINTER, LONGEST_SENTENCE = 100, 600
"""Characters. Together they keep an answer below 64 KiB, whatever a body held."""


def cut(text: str, longest: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


class InvalidImageError(DarkroomError):
    code = "invalid_input_image"


class UnsupportedError(DarkroomError):
    code = "unsupported"


class UploadsOffError(DarkroomError):
    code = "uploads_off"


class UnauthenticatedError(DarkroomError):
    code = "unauthenticated"


class ForbiddenError(DarkroomError):
    code = "forbidden"


class NotFoundError(DarkroomError):
    code = "not_found"


class JobNotFoundError(NotFoundError):
    code = "job_not_found"


class BatchNotFoundError(NotFoundError):
    code = "batch_not_found"


class ImageNotFoundError(NotFoundError):
    code = "image_not_found"


class ModelNotFoundError(NotFoundError):
    """`near` holds the names most like the one asked for, best first; `known` all there are, where
    whoever asks may see them; `because` says what of the name is wrong. `errors` point at it, where
    it stands in a body."""

    code = "model_not_found"

    def __init__(
        self, name: str, near: Sequence[str] = (), known: Sequence[str] = (), *, because: str = ""
    ) -> None:
        reason = f": {because}" if because else ""
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        hint += f" There are: {', '.join(known)}." if known else ""
        super().__init__(f"No model is called {name[:100]!r}{reason}.{hint}")
        self.name = name
        self.near = tuple(near)
        self.errors: tuple[FieldError, ...] = ()

    def point_at(self, pointer: str) -> None:
        self.errors = (FieldError(pointer, str(self), "not_one_of"),)


class LoraNotFoundError(NotFoundError):
    code = "lora_not_found"


class WorkerNotFoundError(NotFoundError):
    code = "worker_not_found"


class NoSuchFileError(NotFoundError):
    code = "file_not_found"


class FilesFullError(DarkroomError):
    code = "files_full"


class ExpiredError(DarkroomError):
    code = "expired"


class IdempotencyMismatchError(DarkroomError):
    code = "idempotency_mismatch"


class OverloadError(DarkroomError):
    code = "overload"
    retryable = True


class QueueFullError(OverloadError):
    code = "queue_full"


class TooManyActiveJobsError(OverloadError):
    code = "too_many_active_jobs"


class TooManyQueuedJobsError(OverloadError):
    code = "too_many_queued_jobs"


class RateLimitedError(OverloadError):
    """`retry_s`: whole seconds after which a request is let through again."""

    code = "rate_limited"

    def __init__(self, message: str, retry_s: int) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class GpuBudgetError(RateLimitedError):
    code = "gpu_budget_spent"


class TooManyAtOnceError(OverloadError):
    code = "too_many_at_once"


class BusyError(DarkroomError):
    code = "busy"
    retryable = True


class DecodersBusyError(BusyError):
    code = "decoders_busy"


class DependencyError(DarkroomError):
    code = "dependency_unavailable"
    retryable = True


class QueueUnavailableError(DependencyError):
    code = "queue_unavailable"


class StoreUnavailableError(DependencyError):
    code = "store_unavailable"


class JobFailure(DarkroomError):
    code = "internal"


class DeviceMemoryError(JobFailure):
    """Not `retryable` where there would be too little memory even with all others gone."""

    code = "out_of_memory"
    retryable = True

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ModelLoadError(JobFailure):
    code = "model_load_failed"


class InvalidOutputError(JobFailure):
    code = "invalid_output"


class SafetyBlockedError(JobFailure):
    code = "safety_blocked"


class PoisonError(JobFailure):
    code = "poison"


class MalformedJobError(JobFailure):
    code = "malformed_job"


class JobInterrupt(BaseException):
    """Thrown into the greenlet of a running job while it is parked."""

    code: str = "canceled"


class Canceled(JobInterrupt):
    code = "canceled"


class DeadlineExceeded(JobInterrupt):
    code = "deadline_exceeded"


class LeaseLost(JobInterrupt):
    code = "lease_lost"


class Released(JobInterrupt):
    code = "released"
