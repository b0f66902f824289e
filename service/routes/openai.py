"""The OpenAI Images API, as its clients speak it: pictures from prompts and from pictures, models.

The answer to a call waits for its job. Unknown fields and query parameters are ignored, as there.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT

from darkroom.errors import DarkroomError, PayloadTooLargeError
from darkroom.foreign_names import Meant, meant, told_of_guess
from darkroom.job import Job
from darkroom.offers import Offer
from darkroom.queue.calls import answered, cut_off
from service.access import Jobs
from service.bodies import in_thread_if_large, read_body, require_json, require_uncompressed
from service.dependencies import Darkroom, Here, IdempotencyKey, Place, TheirJobs
from service.dialects import openai_answers as answers
from service.dialects import openai_requests as requests
from service.dialects.calls import (
    about,
    answer_of,
    gone,
    headers_of,
    is_repeat,
    note,
    until_end,
)
from service.dialects.early_pictures import early_pictures
from service.dialects.openai_requests import Asked, Pictures
from service.dialects.pictures import in_base64, own, url_of
from service.errors import answer, fault_of
from service.forms import is_form, parts_in
from service.responses import Listing
from service.submission import Wanted, submit

PREFIX = "/v1"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = answers.write_error

_MAKES = frozenset({"text-to-image", "image-to-image", "inpaint", "edit"})
"""Tasks that can be asked for here."""


@dataclass(frozen=True)
class _Body:
    """What a request brought, before a model was looked for."""

    asked: Asked
    pictures: Pictures
    size: int
    """Bytes."""


@router.post("/images/generations", dependencies=[Place])
async def generate_images(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Pictures from a prompt."""
    require_json(http)
    fields, size = await read_body(http, _most_text(here), requests.PICTURES)
    body = _Body(requests.asked_of(fields, needs_prompt=True), Pictures(), size)
    name, offer = await _offer(here, body.asked)
    native = requests.generation(body.asked, offer) | {"model": name.model}
    told = [*told_of_guess(name, body.asked.model), *requests.told_of_pictures(fields)]
    wanted = _wanted(http, body, native, told, idempotency_key)
    return await _answered(http, here, jobs, body.asked, wanted, "image_generation")


@router.post("/images/edits", dependencies=[Place])
async def edit_images(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Pictures from pictures and a prompt, by the task `edit` where the model has it."""
    body = await _with_pictures(http, here, needs_prompt=True)
    name, offer = await _offer(here, body.asked)
    native, told = requests.edit(body.asked, offer, body.pictures)
    native["model"] = name.model
    wanted = _wanted(
        http, body, native, [*told_of_guess(name, body.asked.model), *told], idempotency_key
    )
    return await _answered(http, here, jobs, body.asked, wanted, "image_edit")


@router.post("/images/variations", dependencies=[Place])
async def vary_image(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Pictures like another."""
    body = await _with_pictures(http, here, needs_prompt=False)
    name, offer = await _offer(here, body.asked)
    native = requests.variation(body.asked, offer, body.pictures) | {"model": name.model}
    wanted = _wanted(http, body, native, told_of_guess(name, body.asked.model), idempotency_key)
    return await _answered(http, here, jobs, body.asked, wanted, "image_edit")


@router.get("/models")
@router.get("/models/")
async def list_models(here: Here) -> Listing[dict[str, Any]]:
    """The models that make pictures here, and the names that mean one of them."""
    able = [each.card.name for each in await here.all_offers() if _MAKES & set(each.tasks)]
    return Listing(data=answers.models_body(here.catalog, able))


@router.get("/models/{model_id:path}")
async def read_model(here: Here, model_id: str) -> dict[str, Any]:
    """A model, by any name that it can be asked by."""
    return answers.model_body(model_id, meant(here.catalog, model_id).model)


def _most_text(here: Darkroom) -> int:
    return int(here.settings.max_json_kb * 2**10)


async def _with_pictures(http: Request, here: Darkroom, *, needs_prompt: bool) -> _Body:
    """A form or JSON. Raises HTTPException 415, and what reading them raises."""
    kind = http.headers.get("content-type", "")
    if not is_form(kind):
        require_json(http)
        fields, size = await read_body(http, _most_text(here), requests.PICTURES)
        pictures = requests.from_json(fields)
    else:
        require_uncompressed(http)
        raw = await http.body()
        size = len(raw)
        parts = await in_thread_if_large(size, lambda: parts_in(raw, kind))
        if sum(len(part.content) for part in parts if not part.is_file) > _most_text(here):
            raise PayloadTooLargeError("The texts of the form are too long.")
        fields, pictures = await in_thread_if_large(size, lambda: requests.from_form(parts))
    images = tuple(own(http, image) for image in pictures.images)
    mask = pictures.mask and own(http, pictures.mask)
    return _Body(requests.asked_of(fields, needs_prompt=needs_prompt), Pictures(images, mask), size)


async def _offer(here: Darkroom, asked: Asked) -> tuple[Meant, Offer]:
    """The model that is meant, and what it offers. Raises ModelNotFoundError,
    QueueUnavailableError."""
    name = meant(here.catalog, asked.model)
    return name, await here.offer_of(name.model)


def _wanted(
    http: Request, body: _Body, native: dict[str, Any], told: list[str], key: str | None
) -> Wanted:
    return Wanted(
        native,
        body.size,
        key,
        is_repeat=is_repeat(http.headers),
        warnings=tuple(told),
        mask="alpha mask",
    )


async def _answered(
    http: Request, here: Darkroom, jobs: Jobs, asked: Asked, wanted: Wanted, kind: str
) -> Response:
    """The pictures of a new job, when it has ended or, if so asked, one by one as events."""
    submitted = await submit(here, jobs, http, wanted)
    job, headers = submitted.job, headers_of(submitted)
    if asked.stream:
        events = _events(here, jobs, asked, job, kind)
        return StreamingResponse(events, 200, headers, "text/event-stream")

    async def write(job: Job) -> Response:
        if fault := answers.failure(job):
            return answer(http, about(fault, job, is_final=True))
        data = [await _shown(http, here, jobs, asked, image) for image in job.kept]
        body = json.dumps(answers.images_body(asked, job, data))
        return Response(body, 200, headers, "application/json")

    return await answer_of(http, jobs, job, write)


async def _shown(
    http: Request, here: Darkroom, jobs: Jobs, asked: Asked, image: Any
) -> dict[str, str]:
    shown = {}
    if answers.wants_url(asked):
        shown["url"] = await url_of(http, here, jobs.asker, image)
    if answers.wants_base64(asked):
        shown["b64_json"] = await in_base64(here.store, jobs, image)
    return shown


async def _events(
    here: Darkroom, jobs: Jobs, asked: Asked, job: Job, kind: str
) -> AsyncIterator[bytes]:
    """The pictures as server-sent events. Who leaves in between gives the job up."""
    is_told = False
    try:
        early, sent = early_pictures(jobs, job, asked.partial_images, asked.format), 0
        async with aclosing(until_end(jobs, job, early)) as coming:
            async for came in coming:
                if isinstance(came, Job):
                    job = came
                elif came is None:
                    yield KEEPALIVE_COMMENT
                else:
                    data = base64.b64encode(came).decode()
                    yield answers.partial_event(kind, asked, job, sent, data)
                    sent += 1
        if fault := answers.failure(job):
            yield answers.error_event(fault)
        else:
            for image in job.kept:
                data = await in_base64(here.store, jobs, image)
                yield answers.completed_event(kind, asked, job, image, data)
        is_told = True
        await note(jobs, answered, job)
    except DarkroomError as error:
        is_told = True
        await note(jobs, cut_off, job)
        yield answers.error_event(fault_of(error))
    finally:
        if not is_told:
            await gone(jobs, job)
