"""Shapes of answers and how they are written; in the service only.

Jobs are serialised here, once, instead of by FastAPI: their bytes give their ETag.
"""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Generic, Literal, TypeVar

from anyio import AsyncFile, CancelScope, to_thread, wrap_file
from fastapi import Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from darkroom import field_errors
from darkroom.codes import CODES
from darkroom.images import SUFFIXES, ImageStore, StoredImage
from darkroom.job import Job
from darkroom.kept_file import KeptFile
from darkroom.queue.jobs import QueueState
from darkroom.queue.pausing import Paused
from service.conditions import satisfiable

Item = TypeVar("Item")

POLL_AFTER_S = 1
"""What `Retry-After` tells clients of a job that is not done yet."""


class Listing(BaseModel, Generic[Item]):
    """All of something."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["list"] = "list"
    """What this is."""
    data: list[Item]
    """The things themselves."""


class QueueListing(Listing[QueueState]):
    """All queues, and what of them is paused."""

    paused: Paused
    """What an operator paused; also models whose queues got no job yet."""


class JobPage(Listing[Job]):
    """Some jobs, newest first; `next_cursor` asks for the ones after them."""

    next_cursor: str | None
    """Asks for the page after this one; null on the last."""
    has_more: bool
    """Whether there is one."""


class FilePage(Listing[KeptFile]):
    """Some files, newest first; `next_cursor` asks for the ones after them."""

    next_cursor: str | None
    """Asks for the page after this one; null on the last."""
    has_more: bool
    """Whether there is one."""


def _listed(codes: Mapping[str, str]) -> Any:
    """For OpenAPI: all that a code can be, and what each means."""
    meanings = "\n".join(f"- `{code}`: {meaning}" for code, meaning in codes.items())
    return Field(description=meanings, json_schema_extra={"enum": list(codes)})


class DryRun(BaseModel):
    """What would come of a body, were it submitted now."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["dry_run"] = "dry_run"
    """What this is."""
    request: dict[str, Any]
    """The request that the job would have. Where no seed is asked for, each run draws another;
    input pictures are named by their hashes, but not kept."""
    warnings: list[str]
    """The job's."""
    work_s: float
    """Seconds that it is likely to take if it runs alone, without loading its model."""
    work_source: Literal["measured", "stated"]
    """measured: from passes of its model on some worker; stated: nobody knows its model that well,
    and this is a rule of thumb."""
    queue: str
    """Where it would wait: model and priority."""
    position: int
    """How many jobs of that queue would go first."""
    eta_s: float | None
    """Seconds until it would have ended, as in a job's `queue`; null while nobody can tell."""
    reason: str | None
    """Why nobody can tell: its queue is paused, or nobody serves its model."""
    workers: list[str]
    """Names of the workers that serve its model."""
    loaded: bool
    """Whether one of them has the model in memory."""
    replays: str | None
    """The earlier job that would be the answer, for the sake of its `Idempotency-Key`."""


class BatchDryRun(BaseModel):
    """What would come of the body of a batch, were it submitted now."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["batch_dry_run"] = "batch_dry_run"
    """What this is."""
    jobs: list[DryRun]
    """Of each job, in order. None of them replays another."""
    work_s: float
    """Seconds that all of them are likely to take, one after the other."""
    replays: str | None
    """The earlier batch that would be the answer, for the sake of its `Idempotency-Key`."""


class FieldProblem(BaseModel):
    """One thing wrong with a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    pointer: str
    """A JSON pointer (RFC 6901) into the body; `/query/...` and `/header/...` for the rest."""
    detail: str
    """A sentence for people."""
    code: Annotated[str, _listed(field_errors.CODES)]


class Problem(BaseModel):
    """A problem document (RFC 9457). `code` is stable; the sentences are for people."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    type: str
    """A URN of the code."""
    title: str
    """The code in words."""
    status: int
    """The status of the answer."""
    detail: str
    """A sentence for people, with what to do."""
    instance: str
    """The path that was asked."""
    code: Annotated[str, _listed({code: row.meaning for code, row in CODES.items()})]
    retryable: bool
    """Whether the same request may succeed later, as it is."""
    request_id: str
    """To find the request in the log, and in `X-Request-Id`."""
    errors: list[FieldProblem] = []
    """Each thing that is wrong with the request."""


def job_body(job: Job) -> bytes:
    return job.model_dump_json(by_alias=True).encode()


def job_etag(job: Job) -> str:
    """Names the state of a job. Its `queue.eta_s`, which changes by itself, is no part of that."""
    if job.queue:
        job = job.model_copy(update={"queue": job.queue.model_copy(update={"eta_s": None})})
    return etag(job_body(job))


def etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def job_response(job: Job, status: int = 200, **headers: str) -> Response:
    """A job with its ETag and, until it is terminal, a hint when to ask again."""
    body = job_body(job)
    headers |= {"ETag": job_etag(job), "Cache-Control": "private, no-cache"}
    if not job.status.terminal:
        headers["Retry-After"] = str(POLL_AFTER_S)
    return Response(body, status, headers, media_type="application/json")


PICTURE = {f"image/{name}": {"schema": {"type": "string", "format": "binary"}} for name in SUFFIXES}
"""What OpenAPI says about an answer that is a picture."""


class ImageFile(FileResponse):
    """A finished picture: never changes, never guessed at, private to who knows its id.

    Starlette's answer knows how to send parts; its file is the store's."""

    def __init__(self, store: ImageStore, image: StoredImage, **headers: str) -> None:
        self._store = store
        self._image = image
        super().__init__(
            image.file_name,
            stat_result=_stat(image),
            media_type=f"image/{image.format}",
            filename=image.file_name,
            content_disposition_type="inline",
            headers=image_headers(image.id) | headers,
        )

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[AsyncFile[bytes]]:
        file = wrap_file(await to_thread.run_sync(self._store.open, self._image))
        try:
            yield file
        finally:
            with CancelScope(shield=True):
                await file.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette serves the parts; which of them are asked for and are there is ours to say.

        Raises HTTPException 416."""
        asked = Headers(scope=scope)
        mine = (self.headers["etag"], self.headers["last-modified"])
        parts = satisfiable(asked, self._image.size, *mine)
        headers = [(k, v) for k, v in scope["headers"] if k not in (b"range", b"if-range")]
        if parts:
            headers.append((b"range", parts.encode()))
        await super().__call__({**scope, "headers": headers}, receive, send)


def last_modified(image: StoredImage) -> float:
    """Unix time; never one that is still to come, should the store's clock be ahead of ours."""
    return min(image.modified, time.time())


def _stat(image: StoredImage) -> os.stat_result:
    """What Starlette wants to know of a file: its size and when it was written."""
    return os.stat_result((0, 0, 0, 0, 0, 0, image.size, 0, int(last_modified(image)), 0))


def image_headers(image_id: str) -> dict[str, str]:
    return {
        "ETag": f'"{image_id}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
