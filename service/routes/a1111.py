"""AUTOMATIC1111's API, as its clients speak it: pictures from prompts and from pictures, how far
they are, and the options of who asks.

The answer to a call waits for its job. Unknown fields and query parameters are ignored, as there.
"""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from darkroom import named_loras
from darkroom.catalog import Catalog
from darkroom.errors import (
    BusyError,
    ExpiredError,
    InvalidImageError,
    JobNotFoundError,
    UnsupportedError,
)
from darkroom.foreign_names import WILDCARD, Meant, meant, told_of_guess
from darkroom.job import Job
from darkroom.offers import Offer
from darkroom.queue.choices import choices, choose
from darkroom.queue.newest import newest
from darkroom.queue.previews import latest
from darkroom.styles import styles_of
from service.access import Jobs
from service.bodies import read_body, require_json
from service.dependencies import Darkroom, Here, IdempotencyKey, Place, TheirJobs
from service.dialects import a1111_answers as answers
from service.dialects import a1111_requests as requests
from service.dialects.a1111_controlnet import controls
from service.dialects.a1111_requests import TAG, Asked, Options
from service.dialects.calls import about, answer_of, headers_of, is_repeat
from service.dialects.pictures import in_base64
from service.errors import answer
from service.pictures.messages import CopyWish, Kind
from service.submission import Wanted, submit

PREFIX = "/sdapi/v1"
router = APIRouter(prefix=PREFIX, include_in_schema=False)
write_error = answers.write_error


@dataclass(frozen=True)
class _Body:
    """What a request brought, and the model that it means."""

    fields: Mapping[str, Any]
    asked: Asked
    size: int
    """Bytes."""
    options: Options
    model: str
    """By the name that it was found by, perhaps with LoRAs behind it."""
    offer: Offer
    told: tuple[str, ...]


@router.post("/txt2img", dependencies=[Place])
async def txt2img(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Pictures from a prompt."""
    body = await _read(http, here, jobs)
    native, told = requests.txt2img(body.asked, body.options, body.offer)
    return await _answered(http, here, jobs, body, native, told, idempotency_key)


@router.post("/img2img", dependencies=[Place])
async def img2img(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """Pictures from a picture, or in a part of it."""
    body = await _read(http, here, jobs)
    if not body.asked.init_images:
        raise HTTPException(404, "Init image not found")
    native, told = requests.img2img(body.asked, body.options, body.offer)
    return await _answered(http, here, jobs, body, native, told, idempotency_key)


@router.get("/options")
async def read_options(here: Here, jobs: TheirJobs) -> dict[str, Any]:
    """What who asks has chosen, and what stands for the rest."""
    options = await chosen(jobs)
    model = options.model or here.catalog.default
    usual = {"samples_format": "png", "CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}
    return usual | options.by_alias() | {"sd_model_checkpoint": model}


@router.post("/options")
async def set_options(http: Request, here: Here, jobs: TheirJobs) -> None:
    """Choose, for later requests with the same key: a model, say."""
    require_json(http)
    fields, _ = await read_body(http, int(here.settings.max_json_kb * 2**10))
    wanted = requests.checked(Options, fields)
    given = wanted.by_alias()
    if wanted.model:
        given["sd_model_checkpoint"] = _known_model(here.catalog, wanted.model)
    taken_back = {name: "" for name in Options.names() if fields.get(name, 0) in (None, "")}
    told = {name: str(value) for name, value in given.items()}
    await jobs.client.carry_out(choose(jobs.asker.owner, taken_back | told))


@router.get("/progress")
async def read_progress(
    here: Here, jobs: TheirJobs, skip_current_image: str = "false"
) -> dict[str, Any]:
    """How far the newest job is that who asks has running this way."""
    found = await jobs.client.carry_out(newest(jobs.asker.owner, TAG))
    is_wanted = found.job and skip_current_image.lower() not in ("true", "1", "yes", "on")
    picture = await _early(here, jobs, found.job) if found.job and is_wanted else None
    return answers.progress_body(found, picture)


@router.post("/interrupt")
@router.post("/skip")
async def interrupt(jobs: TheirJobs) -> dict[str, Any]:
    """Cancel that job."""
    found = await jobs.client.carry_out(newest(jobs.asker.owner, TAG))
    if found.job:
        with suppress(JobNotFoundError, ExpiredError):
            await jobs.cancel(found.job.id)
    return {}


async def chosen(jobs: Jobs) -> Options:
    """The options of who asks."""
    kept = await jobs.client.carry_out(choices(jobs.asker.owner))
    return requests.checked(Options, kept)


async def offer_of(here: Darkroom, options: Options) -> tuple[Meant, Offer]:
    """The model that options mean, and what it offers. Raises ModelNotFoundError,
    QueueUnavailableError."""
    asked = options.model and requests.model_called(here.catalog, options.model)
    name = meant(here.catalog, asked)
    return name, await here.offer_of(name.model)


def _known_model(catalog: Catalog, title: str) -> str:
    """Raises ModelNotFoundError also for what the wildcard would stand for."""
    name = requests.model_called(catalog, title)
    if name in catalog.aliases and name != WILDCARD:
        meant(catalog, name)
    else:
        named_loras.find(catalog, name)
    return name


async def _read(http: Request, here: Darkroom, jobs: Jobs) -> _Body:
    require_json(http)
    most_text = int(here.settings.max_json_kb * 2**10)
    fields, size = await read_body(http, most_text, requests.PICTURES)
    asked = requests.checked(Asked, fields)
    options = asked.override_settings.with_those_of(await chosen(jobs))
    name, offer = await offer_of(here, options)
    told = [*requests.ignored(fields), *told_of_guess(name, options.model)]
    return _Body(fields, asked, size, options, name.model, offer, tuple(told))


async def _answered(
    http: Request,
    here: Darkroom,
    jobs: Jobs,
    body: _Body,
    native: dict[str, Any],
    told: list[str],
    key: str | None,
) -> Response:
    """The pictures of a new job, when it has ended."""
    asked, offer = body.asked, body.offer
    cards = styles_of(offer.card.styles, here.catalog.styles)
    native, of_styles = requests.styled(native, asked.styles, cards, offer)
    first = next(iter(asked.init_images), None)
    units, of_units = controls(asked.alwayson_scripts, first, offer)
    native |= {"controls": units} if units else {}
    mask: Kind = "inverted drawn mask" if asked.inpainting_mask_invert else "drawn mask"
    wanted = Wanted(
        native | {"model": body.model},
        body.size,
        key,
        is_repeat=is_repeat(http.headers),
        warnings=(*body.told, *told, *of_styles, *of_units),
        mask=mask,
        fit=requests.fit_of(asked),
    )
    submitted = await submit(here, jobs, http, wanted)

    async def write(job: Job) -> Response:
        if not job.kept:
            return answer(http, about(answers.failure(job), job, is_final=True))
        wished = job.kept if asked.send_images else []
        images = [await in_base64(here.store, jobs, image) for image in wished]
        with_inputs = asked.include_init_images
        told = answers.images_body(body.fields, job, images, with_inputs=with_inputs)
        return Response(json.dumps(told), 200, headers_of(submitted), "application/json")

    return await answer_of(http, jobs, submitted.job, write)


async def _early(here: Darkroom, jobs: Jobs, job: Job) -> str | None:
    """An early picture of a job, as base64 of a PNG; None where there is none."""
    with suppress(InvalidImageError, UnsupportedError, BusyError):
        # Without a look at the job, which keeps one whose client left.
        if picture := await jobs.client.carry_out(latest(job.id)):
            png = await here.inputs.decoders.copy(picture, CopyWish("png", None))
            return base64.b64encode(png).decode()
    return None
