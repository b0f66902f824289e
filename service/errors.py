"""Errors as answers: the one place where an error becomes an HTTP status; in the service only."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from darkroom import logs
from darkroom.codes import retryable
from darkroom.errors import (
    BusyError,
    DarkroomError,
    DependencyError,
    ExpiredError,
    FieldError,
    FilesFullError,
    ForbiddenError,
    IdempotencyMismatchError,
    InvalidImageError,
    InvalidRequestError,
    MalformedRequestError,
    ModelNotFoundError,
    NotFoundError,
    OverloadError,
    PayloadTooLargeError,
    RateLimitedError,
    UnauthenticatedError,
    UnsupportedError,
    UploadsOffError,
)
from darkroom.field_errors import in_our_words, pointer
from darkroom.webhook import WebhooksOffError
from service.problems import PROBLEM
from service.responses import FieldProblem, Problem

log = logs.get("service")

STATUS: dict[type[DarkroomError], int] = {
    MalformedRequestError: 400,
    UnauthenticatedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    PayloadTooLargeError: 413,
    ExpiredError: 410,
    FilesFullError: 409,
    IdempotencyMismatchError: 422,
    InvalidImageError: 422,
    InvalidRequestError: 422,
    UnsupportedError: 422,
    UploadsOffError: 403,
    WebhooksOffError: 403,
    OverloadError: 429,
    BusyError: 503,
    DependencyError: 503,
}
"""The nearest class of an error decides; what is not here is a fault of ours, 500."""

RETRY_AFTER_S = {429: "5", 503: "2"}

_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    431: "head_too_large",
}


_SHORT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS),
}
"""Disk space, open files, memory, processes."""

_SENTENCES = {
    404: "There is no such path; GET / says where everything is.",
    405: "The path has no such method; the header Allow names those it has.",
}
"""For what Starlette refuses with a phrase alone."""


@dataclass(frozen=True)
class Fault:
    """What went wrong with a request to the API, before it is written as an answer."""

    status: int
    code: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further members of a problem document."""


_FORMS = {
    "after": "Must be the `id` of an event of this stream.",
    "batch": "Must be the id of a batch: batch_ and 32 characters of 0-9 and a-f.",
    "cursor": "Must be the `next_cursor` of the page before.",
    "idempotency-key": "Must be 1 to 255 visible ASCII characters, without blanks.",
    "last-event-id": "Must be the `id` of an event of this stream.",
}
"""What parameters that have a form must be, instead of the regular expression that checks it."""

Writer = Callable[[Request, Fault], Response]


def answer(http: Request, fault: Fault) -> Response:
    """The fault as clients of the path expect it: below the prefix of a compatible API as that has
    it, elsewhere a problem document."""
    write = _writer(http)
    response = write(http, fault)
    response.headers["Cache-Control"] = "no-store"
    if fault.status in RETRY_AFTER_S:
        response.headers["Retry-After"] = RETRY_AFTER_S[fault.status]
    response.headers.update(fault.headers)
    return response


def _writer(http: Request) -> Writer:
    app = http.scope.get("app")
    writers: Mapping[str, Writer] = getattr(app.state, "writers", {}) if app else {}
    path = f"{http.scope.get('path', '')}/"
    return next((writers[each] for each in writers if path.startswith(f"{each}/")), write_problem)


def write_problem(http: Request, fault: Fault) -> Response:
    """A problem document (RFC 9457); of the request it repeats nothing but the path."""
    document = Problem(
        type=f"urn:darkroom:error:{fault.code}",
        title=fault.code.replace("_", " ").capitalize(),
        status=fault.status,
        detail=fault.detail,
        instance=http.scope.get("raw_path", b"").decode("ascii", "replace")[:200],
        code=fault.code,
        request_id=http.scope.get("request_id", ""),
        errors=[
            FieldProblem(pointer=e.pointer, detail=e.detail, code=e.code) for e in fault.errors
        ],
        **{"retryable": retryable(fault.code), **fault.more},
    )
    return Response(document.model_dump_json(), fault.status, media_type=PROBLEM)


def add_handlers(app: FastAPI, writers: Mapping[str, Writer] | None = None) -> None:
    """For what routes raise, and for what the middlewares around them do: `Exception` is asked last
    of all, and Starlette's own answer would be plain text. `writers`: by the prefixes of paths, who
    writes errors there, of routes or of none."""
    app.state.writers = writers or {}
    for kind in (DarkroomError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _handle)


async def _handle(http: Request, error: Exception) -> Response:
    return answer(http, fault_of(error))


def fault_of(error: Exception) -> Fault:
    """What an error means to a client. A fault of ours is an id to quote; its traceback goes to
    the log."""
    match error:
        case DarkroomError() if status := _status(error):
            return _darkroom_fault(error, status)
        case RequestValidationError():
            return _validation_fault(error)
        case HTTPException(status_code=status):
            headers = error.headers or {}
            return Fault(status, code_of(status), _sentence(status, error.detail), headers=headers)
    log.error("request failed", exc_info=error)
    if _is_shortage(error):
        return Fault(503, DependencyError.code, "The service is short of what it needs; try again.")
    return Fault(500, "internal", "Something failed here; quote the request_id.")


def _is_shortage(error: Exception) -> bool:
    """Whether the machine has too little of something: what passes, and is nobody's fault here."""
    if isinstance(error, OSError):
        return error.errno in _SHORT
    return isinstance(error, MemoryError) or str(error) == "can't start new thread"


def _sentence(status: int, detail: str) -> str:
    phrase = HTTPStatus(status).phrase
    return _SENTENCES.get(status, phrase) if detail == phrase else detail


def code_of(status: int) -> str:
    """The code of an error that is a status of HTTP and nothing more."""
    return _CODES.get(status) or HTTPStatus(status).name.lower()


def _status(error: DarkroomError) -> int | None:
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), None)


def _darkroom_fault(error: DarkroomError, status: int) -> Fault:
    if status >= 429:
        log.warning("refused", code=error.code, reason=str(error))
    return Fault(
        status,
        error.code,
        _detail(error),
        errors=error.errors if isinstance(error, InvalidRequestError | ModelNotFoundError) else (),
        headers=_headers(error),
        more={"near": list(error.near)} if isinstance(error, ModelNotFoundError) else {},
    )


def _headers(error: DarkroomError) -> dict[str, str]:
    match error:
        case UnauthenticatedError():
            return {"WWW-Authenticate": "Bearer"}
        case RateLimitedError():
            return {"Retry-After": str(error.retry_s)}
    return {}


def _detail(error: DarkroomError) -> str:
    if isinstance(error, DependencyError):  # its text may hold addresses and paths
        what = "queue" if error.code == "queue_unavailable" else "image store"
        return f"The {what} cannot be used now; try again soon."
    return str(error)


def _validation_fault(error: RequestValidationError) -> Fault:
    """FastAPI's own check of path, query and headers, in our words."""
    refused = InvalidRequestError([_parameter_error(each) for each in error.errors()])
    return Fault(422, refused.code, str(refused), errors=refused.errors)


def _parameter_error(error: Mapping[str, Any]) -> FieldError:
    code, sentence = in_our_words(error["type"], error["msg"], error.get("ctx", {}))
    where = [str(part) for part in error["loc"]]
    return FieldError(pointer(*where), _FORMS.get(where[-1], sentence), code)
