"""Errors as answers: the one place where an error becomes an HTTP status; in the service only."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from darkroom import logs
from darkroom.errors import (
    DarkroomError,
    DependencyError,
    ExpiredError,
    FieldError,
    IdempotencyMismatchError,
    InvalidImageError,
    InvalidRequestError,
    MalformedRequestError,
    ModelNotFoundError,
    NotFoundError,
    OverloadError,
    UnsupportedError,
)
from darkroom.job import Job, JobError
from service.responses import PROBLEM, FieldProblem, Problem

log = logs.get("service")

STATUS: dict[type[DarkroomError], int] = {
    MalformedRequestError: 400,
    NotFoundError: 404,
    ExpiredError: 410,
    IdempotencyMismatchError: 422,
    InvalidImageError: 422,
    InvalidRequestError: 422,
    UnsupportedError: 422,
    OverloadError: 429,
    DependencyError: 503,
}
"""The nearest class of an error decides; what is not here is a fault of ours, 500."""

RETRY_AFTER_S = {429: "5", 503: "2"}

_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}

_JOB_STATUS = {
    "canceled": 409,
    "deadline_exceeded": 504,
    "invalid_input_image": 422,
    "invalid_parameters": 422,
    "unsupported": 422,
}
"""How a job that did not succeed answers a client that wanted nothing but its picture."""


def problem(
    http: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
    **more: object,
) -> Response:
    """A problem document (RFC 9457) about `http`, of which it repeats nothing but the path."""
    document = Problem(
        type=f"urn:darkroom:error:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        instance=http.scope.get("raw_path", b"").decode("ascii", "replace")[:200],
        code=code,
        request_id=http.scope.get("request_id", ""),
        errors=[FieldProblem(pointer=e.pointer, detail=e.detail, code=e.code) for e in errors],
        **more,
    )
    headers = {"Cache-Control": "no-store"} | (headers or {})
    if status in RETRY_AFTER_S:
        headers.setdefault("Retry-After", RETRY_AFTER_S[status])
    return Response(document.model_dump_json(), status, headers, media_type=PROBLEM)


def failed_job(http: Request, job: Job) -> Response:
    """The problem of a job that ended without a picture."""
    error = job.error or JobError(code=job.status, message=f"The job was {job.status}.")
    status = _JOB_STATUS.get(error.code, 503 if error.retryable else 502)
    return problem(
        http, status, error.code, error.message, headers={"Location": job.urls.self_}, job=job.id
    )


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(DarkroomError, _darkroom_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


def unexpected(http: Request, error: Exception) -> Response:
    """A fault of ours: its traceback goes to the log, clients get an id to quote."""
    log.error("request failed", exc_info=error)
    return problem(http, 500, "internal", "Something failed here; quote the request_id.")


async def _darkroom_error(http: Request, error: DarkroomError) -> Response:
    status = next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), None)
    if status is None:
        return unexpected(http, error)
    if status >= 429:
        log.warning("refused", code=error.code, reason=str(error))
    return problem(
        http,
        status,
        error.code,
        _detail(error),
        errors=getattr(error, "errors", ()),
        **({"near": list(error.near)} if isinstance(error, ModelNotFoundError) else {}),
    )


def _detail(error: DarkroomError) -> str:
    if isinstance(error, DependencyError):  # its text may hold addresses and paths
        what = "queue" if error.code == "queue_unavailable" else "image store"
        return f"The {what} cannot be used now; try again soon."
    return str(error)


async def _validation_error(http: Request, error: RequestValidationError) -> Response:
    """FastAPI's own check of query and headers. Its text may repeat the input; ours does not."""
    errors = [
        FieldError("/" + "/".join(str(part) for part in e["loc"]), e["msg"], e["type"])
        for e in error.errors()
    ]
    detail = "; ".join(f"{e.pointer}: {e.detail}" for e in errors)
    return problem(http, 422, InvalidRequestError.code, detail, errors=errors)


async def _http_exception(http: Request, error: HTTPException) -> Response:
    code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
    detail = str(error.detail)
    return problem(http, error.status_code, code, detail, headers=dict(error.headers or {}))
