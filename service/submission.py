"""From a body to a queued job; in the service only."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request
from pydantic_core import from_json

from darkroom.draft import stored
from darkroom.errors import FieldError, InvalidRequestError, MalformedRequestError
from darkroom.queue.jobs import Submitted
from darkroom.request import Output
from darkroom.validation import completed, parse
from service.access import Jobs
from service.dependencies import Darkroom

LONGEST_MODEL_NAME = 200
LARGE_BYTES = 64 * 2**10
"""From here on a body holds pictures, or is meant to keep the service busy: reading and checking it
takes longer than handing it to a thread."""

T = TypeVar("T")


async def submit(
    here: Darkroom,
    jobs: Jobs,
    body: dict[str, Any],
    idempotency_key: str | None = None,
    agree: Callable[[Output], None] = lambda _: None,
    *,
    size: int = 0,
) -> Submitted:
    """Check a body, take in its pictures and queue the job; `agree` raises, before anything is
    kept, when the client could not use what it asks for. `size`: how many bytes the body had; a
    large one is checked in a thread, so that nobody else waits for it.

    Raises InvalidRequestError, ModelNotFoundError, UnsupportedError, QueueFullError,
    IdempotencyMismatchError, DependencyError."""
    card = here.catalog.find(_model_name(body))
    records = await here.records()
    offer = await here.offer(card, records.get(card.name))
    draft = await _in_thread_if(
        size > LARGE_BYTES, lambda: parse(body, offer, lambda: here.offers(records))
    )
    agree(Output.model_validate(draft.values["output"]))
    draft, image_size = await jobs.take_inputs(draft)
    request = completed(draft, offer, image_size)
    return await jobs.submit(
        stored(request, offer),
        draft.options,
        model=card.name,
        warnings=[*draft.warnings, *await _doubts(here, card.name)],
        idempotency_key=idempotency_key,
        fingerprint=fingerprint(body) if idempotency_key else None,
    )


async def read_body(http: Request) -> tuple[dict[str, Any], int]:
    """The JSON object in the body of a request, and how many bytes it had.

    Raises MalformedRequestError."""
    raw = await http.body()
    return await _in_thread_if(len(raw) > LARGE_BYTES, lambda: read_object(raw)), len(raw)


async def _in_thread_if(large: bool, work: Callable[[], T]) -> T:
    return await to_thread.run_sync(work) if large else work()


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body (RFC 8259: UTF-8, no lone surrogates).

    NaN and Infinity are read, so that the check of the field they stand in refuses them."""
    try:
        body = from_json(raw, allow_inf_nan=True)
    except ValueError as error:
        raise MalformedRequestError(f"The body is no JSON in UTF-8: {error}.") from error
    if not isinstance(body, dict):
        raise MalformedRequestError("The body must be a JSON object.")
    return body


def fingerprint(body: dict[str, Any]) -> str:
    """A hash that stays the same when only the order of fields or the white space differ."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _model_name(body: dict[str, Any]) -> str | None:
    if "model" not in body:
        return None
    name = body["model"]
    if not isinstance(name, str):
        raise InvalidRequestError([FieldError("/model", "Must be text.", "wrong_type")])
    if len(name) > LONGEST_MODEL_NAME:
        detail = f"May have at most {LONGEST_MODEL_NAME} characters."
        raise InvalidRequestError([FieldError("/model", detail, "too_long")])
    return name


async def _doubts(here: Darkroom, model: str) -> list[str]:
    """Why the job may have to wait long, though it is accepted."""
    if any(model in worker.serves for worker in await here.workers()):
        return []
    return [f"No worker serves the model {model!r} now; the job waits until one does."]
