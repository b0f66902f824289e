"""What a Darkroom is asked and how its answers read, apart from any connection (sans-I/O)."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from httpx2 import Response
from pydantic import BaseModel, ValidationError

from darkroom.batch import Batch
from darkroom.client.refusals import NoServiceError
from darkroom.job import Job
from darkroom.kept_file import FileKind, KeptFile
from darkroom.request import Request

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)

LONG_POLL_S = 20
"""Longest wait for a change of a job; a proxy in between gives up later than that."""
LARGEST_PAGE = 100
_LONG_TIMEOUT_S = LONG_POLL_S + 10

Body = Mapping[str, Any] | Request
"""Fields of a request and of its job, or a request that is complete."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and what its answer means."""

    method: str
    path: str
    read: Callable[[Response], T]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of httpx2: `json`, `params`, `headers`, `content`, `timeout`."""
    repeatable: bool = True
    """Whether it does no harm to send it again when nobody knows what became of it."""


def job_path(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


def batch_path(batch_id: str) -> str:
    return f"/api/v1/batches/{quote(batch_id, safe='')}"


def file_path(file_id: str) -> str:
    return f"/api/v1/files/{quote(file_id, safe='')}"


def submit(body: Mapping[str, Any], key: str | None, path: str = "/api/v1/jobs") -> Call[Job]:
    return Call("POST", path, _job, _once(body, key))


def submit_batch(body: Mapping[str, Any], key: str | None) -> Call[Batch]:
    return Call("POST", "/api/v1/jobs/batch", _batch, _once(body, key))


def _once(body: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    """The key makes a repeat after a lost answer harmless."""
    return {"json": dict(body), "headers": {"Idempotency-Key": key or uuid.uuid4().hex}}


def body_of(given: Body | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: fields by name go before those of `given`."""
    if isinstance(given, Request):
        given = given.model_dump(mode="json")
    return {name: _as_json(value) for name, value in {**(given or {}), **fields}.items()}


def _as_json(value: Any) -> Any:
    """With the objects of `darkroom.request_parts` as JSON has them."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {name: _as_json(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_json(inner) for inner in value]
    return value


def dry_run(body: Mapping[str, Any], path: str = "/api/v1/jobs") -> Call[dict[str, Any]]:
    return Call("POST", path, read_json, {"params": {"dry_run": "true"}, "json": dict(body)})


def job(job_id: str, wait_s: float = 0) -> Call[Job]:
    """`wait_s`: how long to hold the answer back until the job has ended."""
    asked = {"params": {"wait": wait_s}, "timeout": wait_s + 10} if wait_s else {}
    return Call("GET", job_path(job_id), _job, asked)


def change(job_id: str, etag: str) -> Call[tuple[Job, str] | None]:
    """The job and its ETag as soon as that is another one; None if it stays for long."""
    asked: dict[str, Any] = {"timeout": _LONG_TIMEOUT_S}
    if etag:
        asked |= {"params": {"wait": LONG_POLL_S}, "headers": {"If-None-Match": etag}}
    return Call("GET", job_path(job_id), _changed, asked)


def mark(job_id: str, marks: Mapping[str, Any]) -> Call[Job]:
    return Call("PATCH", job_path(job_id), _job, {"json": dict(marks)})


def cancel(job_id: str) -> Call[Job]:
    return Call("POST", f"{job_path(job_id)}/cancel", _job)


def delete(path: str) -> Call[None]:
    return Call("DELETE", path, _nothing)


def batch(batch_id: str) -> Call[Batch]:
    return Call("GET", batch_path(batch_id), _batch)


def cancel_batch(batch_id: str) -> Call[Batch]:
    return Call("POST", f"{batch_path(batch_id)}/cancel", _batch)


def page(path: str, params: Mapping[str, Any]) -> Call[dict[str, Any]]:
    return Call("GET", path, read_json, {"params": params})


def content(path: str) -> Call[bytes]:
    return Call("GET", path, lambda answer: answer.content)


def image(image_id: str) -> Call[bytes]:
    return content(f"/api/v1/images/{quote(image_id, safe='')}")


def put_file(data: bytes, kind: FileKind) -> Call[KeptFile]:
    as_bytes = {"Content-Type": "application/octet-stream"}
    asked = {"params": {"kind": kind}, "content": data, "headers": as_bytes}
    return Call("POST", "/api/v1/files", lambda answer: _shape(KeptFile, answer), asked)


def switch_queue(verb: Literal["pause", "resume"], model: str | None) -> Call[dict[str, Any]]:
    asked = {"params": {"model": model} if model else {}}
    return Call("POST", f"/api/v1/queue/{verb}", read_json, asked)


def ask(method: str, path: str, options: Mapping[str, Any]) -> Call[Any]:
    """Any path below `/api/v1`."""
    return Call(method, f"/api/v1/{path}", read_json, options, repeatable=method == "GET")


def ready() -> Call[None]:
    return Call("GET", "/readyz", _nothing, {"timeout": 5.0})


def read_json(answer: Response) -> Any:
    """Raises NoServiceError."""
    try:
        return answer.json()
    except ValueError as error:
        url = str(answer.url).removesuffix(answer.url.raw_path.decode())
        raise NoServiceError(
            f"{url} answers, but not as a Darkroom does ({answer.url.path})."
        ) from error


def read_shape(shape: type[Shape], values: Any) -> Shape:
    """Raises NoServiceError."""
    try:
        # A newer service may say more than this client knows.
        return shape.model_validate(values, extra="ignore")
    except ValidationError as error:
        raise NoServiceError(
            f"The service's answer is no {shape.__name__.lower()}: {error}"
        ) from error


def _shape(shape: type[Shape], answer: Response) -> Shape:
    return read_shape(shape, read_json(answer))


def _job(answer: Response) -> Job:
    return _shape(Job, answer)


def _batch(answer: Response) -> Batch:
    return _shape(Batch, answer)


def _changed(answer: Response) -> tuple[Job, str] | None:
    return None if answer.status_code == 304 else (_job(answer), answer.headers.get("etag", ""))


def _nothing(_: Response) -> None:
    return None
