"""From a body to a queued job; in the service only."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

from darkroom.draft import stored
from darkroom.errors import FieldError, InvalidRequestError, MalformedRequestError
from darkroom.queue.jobs import Submitted
from darkroom.request import Output
from darkroom.validation import completed, parse
from service.access import Jobs
from service.dependencies import Darkroom

LONGEST_MODEL_NAME = 200


async def submit(
    here: Darkroom,
    jobs: Jobs,
    body: dict[str, Any],
    idempotency_key: str | None = None,
    agree: Callable[[Output], None] = lambda _: None,
) -> Submitted:
    """Check a body, take in its pictures and queue the job; `agree` raises, before anything is
    kept, when the client could not use what it asks for.

    Raises InvalidRequestError, ModelNotFoundError, UnsupportedError, QueueFullError,
    IdempotencyMismatchError, DependencyError."""
    card = here.models.find(_model_name(body))
    records = await here.records()
    offer = await here.offer(card, records.get(card.name))
    draft = parse(body, offer, lambda: here.offers(records))
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
        raise InvalidRequestError([FieldError("/model", "Must be a string.", "string_type")])
    if len(name) > LONGEST_MODEL_NAME:
        detail = f"Must have at most {LONGEST_MODEL_NAME} characters."
        raise InvalidRequestError([FieldError("/model", detail, "string_too_long")])
    return name


async def _doubts(here: Darkroom, model: str) -> list[str]:
    """Why the job may have to wait long, though it is accepted."""
    if any(model in worker.serves for worker in await here.workers()):
        return []
    return [f"No worker serves the model {model!r} now; the job waits until one does."]
