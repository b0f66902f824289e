"""From a body to a queued job; in the service only."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import Request

from darkroom import named_loras
from darkroom.costs import solo_s
from darkroom.draft import Draft, stored
from darkroom.errors import FieldError, InvalidRequestError
from darkroom.hires import upscale_model
from darkroom.input_images import input_images, with_images
from darkroom.offers import ModelRecord, Offer
from darkroom.queue.jobs import Submitted
from darkroom.request import Output
from darkroom.upscaling import between, resolved
from darkroom.validation import filled_in, parse
from service.access import Jobs
from service.bodies import in_thread_if_large
from service.departure import unless_gone
from service.dependencies import Darkroom

LONGEST_MODEL_NAME = 200
MOST_TOLD_BYTES = 48 * 2**10
"""JSON of a request without its pictures, and of its options. With all else that is said of a job
an answer stays below 64 KiB."""


async def submit(
    here: Darkroom,
    jobs: Jobs,
    http: Request,
    body: dict[str, Any],
    idempotency_key: str | None = None,
    agree: Callable[[Output], None] = lambda _: None,
    *,
    size: int = 0,
) -> Submitted:
    """Check a body, take in its pictures and queue the job; `agree` raises, before anything is
    kept, when the client could not use what it asks for. `size`: how many bytes the body had; a
    large one is checked in a thread, so that nobody else waits for it. Who leaves is given up.

    Raises InvalidRequestError, ModelNotFoundError, UnsupportedError, QueueFullError,
    DecodersBusyError, IdempotencyMismatchError, DependencyError, ClientDisconnect."""
    card, loras = named_loras.find(here.catalog, _model_name(body))
    records = await here.records()
    offer = await here.offer(card, records.get(card.name))
    tags = here.settings.prompt_loras
    draft = await in_thread_if_large(
        size,
        lambda: parse(_with_loras(body, loras), offer, lambda: here.offers(records), tags=tags),
    )
    upscaler = None
    if upscale_model(draft.values) is not None:
        offers = partial(here.offers, records)
        draft, upscaler = await to_thread.run_sync(resolved, draft, offers)  # reads their folders
    _check_length(draft)
    agree(Output.model_validate(draft.values["output"]))
    mark = None
    if idempotency_key:
        mark = await in_thread_if_large(size, lambda: fingerprint(body))
    if input_images(draft.values):  # before anybody works on them
        earlier = await jobs.ask(idempotency_key=idempotency_key, fingerprint=mark)
        if earlier:
            return earlier
    taken = await unless_gone(http, jobs.take_inputs(draft))
    async with jobs.accepting(taken):
        kept = stored(filled_in(taken.draft, offer, taken.image_size), offer)
        return await jobs.submit(
            kept,
            draft.options,
            model=card.name,
            warnings=[*taken.draft.warnings, *await _doubts(here, card.name)],
            idempotency_key=idempotency_key,
            fingerprint=mark,
            work_s=_work_s(kept, upscaler, records),
        )


def _work_s(
    kept: Mapping[str, Any], upscaler: Offer | None, records: Mapping[str, ModelRecord]
) -> float:
    """Seconds that a job is likely to take, with what a model for that enlarges between its parts,
    as far as that is known."""
    own, enlarging = records.get(str(kept["model"])), None
    if upscaler and upscaler.is_known and upscaler.scheduler and kept["width"] and kept["height"]:
        asked = between(kept, upscaler).model_dump(mode="json")
        enlarging = asked, records.get(upscaler.card.name)
    return solo_s(kept, own, enlarging)


def _check_length(draft: Draft) -> None:
    """Refuse what would make each answer about the job long."""
    without_pictures = with_images(draft.values, dict.fromkeys(input_images(draft.values), ""))
    told = json.dumps([without_pictures, draft.options.model_dump()], ensure_ascii=False)
    if (size := len(told.encode())) > MOST_TOLD_BYTES:
        detail = (
            f"All texts together may have at most {MOST_TOLD_BYTES} bytes in UTF-8, these have "
            f"{size}: shorten prompts, phrases or metadata."
        )
        raise InvalidRequestError([FieldError("", detail, "too_long")])


def fingerprint(body: dict[str, Any]) -> str:
    """A hash that stays the same when only the order of fields or the white space differ."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _model_name(body: dict[str, Any]) -> str | None:
    name = body.get("model")
    if name is None:
        return None
    if not isinstance(name, str):
        raise InvalidRequestError([FieldError("/model", "Must be text.", "wrong_type")])
    if len(name) > LONGEST_MODEL_NAME:
        detail = f"May have at most {LONGEST_MODEL_NAME} characters."
        raise InvalidRequestError([FieldError("/model", detail, "too_long")])
    return name


def _with_loras(body: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A body that names these LoRAs with its model, as one that asks for them."""
    given = body.get("loras") or []
    if not names or not isinstance(given, list):
        return body
    return body | {"loras": [*({"name": name} for name in names), *given]}


async def _doubts(here: Darkroom, model: str) -> list[str]:
    """Why the job may have to wait long, though it is accepted."""
    if any(model in worker.serves for worker in await here.workers()):
        return []
    return [f"No worker serves the model {model!r} now; the job waits until one does."]
