"""From a body to a queued job; in the service only."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import Request

from darkroom import edit_pictures, named_loras
from darkroom.costs import Enlarging, is_measured, solo_s
from darkroom.draft import Draft, stored
from darkroom.errors import FieldError, InvalidRequestError, ModelNotFoundError
from darkroom.field_errors import pointer
from darkroom.hires import upscale_model
from darkroom.input_images import input_images, with_images
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer
from darkroom.queue.calls import Call
from darkroom.queue.jobs import Submitted
from darkroom.request import Output
from darkroom.styles import styles_of
from darkroom.upscaling import between, resolved
from darkroom.validation import filled_in, parse
from service.access import Asker, Jobs
from service.bodies import in_thread_if_large
from service.departure import unless_gone
from service.dependencies import Darkroom
from service.pictures.intake import Taken
from service.pictures.messages import Fit, Kind, Reading
from service.webhooks import check_webhook

LONGEST_MODEL_NAME = 200
MOST_TOLD_BYTES = 48 * 2**10
"""JSON of a request without its pictures, and of its options. With all else that is said of a job
an answer stays below 64 KiB."""


Agree = Callable[[Output], None]
"""Raises when the client could not use pictures that are written so."""


@dataclass(frozen=True)
class Wanted:
    """A job that a client asks for."""

    body: dict[str, Any]
    size: int = 0
    """How many bytes were sent; a large body is checked in a thread, so that nobody else waits for
    it."""
    idempotency_key: str | None = None
    said: dict[str, Any] | None = None
    """What the key stands for, where that is not the body."""
    parent_id: str | None = None
    is_repeat: bool | None = None
    """Of a call, whose answer waits for the job: whether its client says that it asks again."""
    warnings: tuple[str, ...] = ()
    """What is to be told beside what the body itself gives reason for."""
    mask: Kind = "mask"
    """As what a mask is read."""
    fit: Fit | None = None
    """To which size the picture that it begins with and its mask are brought first."""


@dataclass(frozen=True)
class Checked:
    """A body that is right for its model, whose pictures nobody has looked at yet."""

    draft: Draft
    offer: Offer
    upscaler: Offer | None
    records: Mapping[str, ModelRecord]

    @property
    def model(self) -> str:
        """The model's own name."""
        return self.offer.card.name

    @property
    def queue(self) -> str:
        """Where it would wait."""
        return f"{self.model}.{self.draft.options.priority}"

    @property
    def output(self) -> Output:
        """How its pictures are to be written."""
        return Output.model_validate(self.draft.values["output"])

    def kept(self, taken: Taken) -> dict[str, Any]:
        """What a job keeps of the request, once its pictures are in the store. Raises
        InvalidRequestError."""
        kept = stored(filled_in(taken.draft, self.offer, taken.image_size), self.offer)
        if errors := [*edit_pictures.refusals(kept, taken.sizes, self.offer)]:
            raise InvalidRequestError(errors)
        return kept

    def work_s(self, kept: Mapping[str, Any]) -> float:
        """Seconds that a job is likely to take, with what a model for that enlarges between its
        parts, as far as that is known."""
        return solo_s(kept, self.records.get(self.model), self._enlarging(kept))

    def is_measured(self, kept: Mapping[str, Any]) -> bool:
        """Whether that follows from passes that were measured."""
        return is_measured(kept, self.records.get(self.model), self._enlarging(kept))

    def _enlarging(self, kept: Mapping[str, Any]) -> Enlarging | None:
        by = self.upscaler
        if by and by.is_known and by.scheduler and kept["width"] and kept["height"]:
            asked = between(kept, by).model_dump(mode="json")
            return asked, self.records.get(by.card.name)
        return None


async def check(
    here: Darkroom,
    asker: Asker,
    body: dict[str, Any],
    size: int = 0,
    records: Mapping[str, ModelRecord] | None = None,
) -> Checked:
    """Check all of a body but its pictures. `records`: those of the models, where they were read.

    Raises InvalidRequestError, ModelNotFoundError, UnsupportedError, QueueUnavailableError."""
    try:
        card, loras = named_loras.find(here.catalog, _model_name(body))
    except ModelNotFoundError as error:
        error.point_at("/model")
        raise
    records = await here.records() if records is None else records
    offer = await here.offer(card, records.get(card.name))
    whole, tags = _with_loras(body, loras), here.settings.prompt_loras
    styles = styles_of(card.styles, here.catalog.styles)
    try:
        draft = await in_thread_if_large(
            size,
            lambda: parse(whole, offer, lambda: here.offers(records), tags=tags, styles=styles),
        )
    except InvalidRequestError as error:
        raise InvalidRequestError([_as_sent(each, body, loras) for each in error.errors]) from None
    upscaler = None
    if upscale_model(draft.values) is not None:
        offers = partial(here.offers, records)
        draft, upscaler = await to_thread.run_sync(resolved, draft, offers)  # reads their folders
    _check_length(draft)
    await check_webhook(here, asker.owner, draft.options.webhook)
    _check_ttl(draft, here.settings.retention_s)
    return Checked(draft, offer, upscaler, records)


async def submit(
    here: Darkroom,
    jobs: Jobs,
    http: Request,
    wanted: Wanted,
    agree: Agree = lambda _: None,
) -> Submitted:
    """Check a body, take in its pictures and queue the job; `agree` raises, before anything is
    kept, when the client could not use what it asks for. Who leaves is given up.

    Raises what `check` does, QueueFullError, BusyError, IdempotencyMismatchError,
    DependencyError, ClientDisconnect."""
    checked = await check(here, jobs.asker, wanted.body, wanted.size)
    agree(checked.output)
    key, mark = wanted.idempotency_key, await mark_of(wanted)
    call = _call(wanted, mark, jobs)
    if input_images(checked.draft.values):  # before anybody works on them
        earlier = await jobs.ask(jobs.terms(key, mark, call))
        if earlier:
            return earlier
    taken = await unless_gone(
        http, jobs.take_inputs(checked.draft, reading=Reading(wanted.mask, wanted.fit))
    )
    async with jobs.accepting(taken):
        kept = checked.kept(taken)
        return await jobs.submit(
            kept,
            checked.draft.options,
            model=checked.model,
            warnings=[
                *wanted.warnings,
                *taken.draft.warnings,
                *await doubts(here, checked.model),
            ],
            idempotency_key=key,
            fingerprint=mark,
            work_s=checked.work_s(kept),
            parent_id=wanted.parent_id,
            call=call,
        )


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


def _check_ttl(draft: Draft, retention_s: float) -> None:
    """Refuse to promise that a job is kept for longer than jobs are."""
    if draft.options.ttl_s and draft.options.ttl_s > retention_s:
        detail = f"May be at most {retention_s:g}: jobs are kept for no longer."
        raise InvalidRequestError([FieldError("/ttl_s", detail, "out_of_range")])


async def mark_of(wanted: Wanted) -> str | None:
    """What tells apart requests with the same key, and calls; None of others."""
    if not wanted.idempotency_key and wanted.is_repeat is None:
        return None
    said = wanted.said or wanted.body
    return await in_thread_if_large(wanted.size, lambda: fingerprint(said))


def _call(wanted: Wanted, mark: str | None, jobs: Jobs) -> Call | None:
    """A call, where no key says already which requests are the same."""
    if mark is None or wanted.idempotency_key or wanted.is_repeat is None:
        return None
    return Call(mark, jobs.feed.service, wanted.is_repeat)


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


def _as_sent(error: FieldError, body: dict[str, Any], behind: Sequence[str]) -> FieldError:
    """The error with a pointer to where its client wrote what is wrong: LoRAs `behind` the name of
    the model stand before those of `loras` in what was checked."""
    _, field, *rest = error.pointer.split("/") if error.pointer else ("", "")
    if field != "loras" or not behind:
        return error
    if not (rest and rest[0].isdecimal()):
        return error if body.get("loras") else replace(error, pointer="/model")
    index = int(rest[0]) - len(behind)
    where = "/model" if index < 0 else pointer("loras", str(index), *rest[1:])
    return replace(error, pointer=where)


async def doubts(here: Darkroom, model: str) -> list[str]:
    """Why the job may have to wait long, though it is accepted."""
    if any(model in worker.serves for worker in await here.workers()):
        return []
    return [f"No worker serves the model {model!r} now; the job waits until one does."]
