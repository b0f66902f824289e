"""AUTOMATIC1111's API beside the making of pictures: larger ones, by a model or a filter, and what
the file of a picture says."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask, BackgroundTasks

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.job import Job
from darkroom.offers import Offer
from darkroom.others_requests import parameters_in
from darkroom.request import UPSCALE
from service.access import Jobs
from service.bodies import read_body, require_json
from service.departure import unless_gone
from service.dependencies import Darkroom, Here, IdempotencyKey, Place, TheirJobs
from service.dialects import a1111_answers as answers
from service.dialects import a1111_requests as requests
from service.dialects import a1111_undone
from service.dialects.a1111_requests import PLAIN_UPSCALERS, TAG
from service.dialects.calls import about, answer_of, headers_of, is_repeat
from service.dialects.pictures import in_bytes
from service.errors import answer
from service.pictures.intake import WHITE
from service.pictures.messages import CopyWish, Wish
from service.routes.a1111 import PREFIX
from service.submission import Wanted, submit

router = APIRouter(prefix=PREFIX, include_in_schema=False)

MAX_SIDE = 16_384
"""Pixels of a picture that is made larger."""
MOST_AT_ONCE = 100
"""Pictures of one request."""


class _Extras(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    upscaler_1: str = Field("None", max_length=200)
    resize_mode: Literal[0, 1] = 0
    upscaling_resize: float = Field(2.0, gt=0, le=8)
    upscaling_resize_w: int = Field(512, ge=1, le=MAX_SIDE)
    upscaling_resize_h: int = Field(512, ge=1, le=MAX_SIDE)
    upscaling_crop: bool = True

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Of what a picture of so many pixels becomes."""
        wide, high = self.upscaling_resize_w, self.upscaling_resize_h
        if self.resize_mode == 1 and self.upscaling_crop:
            return wide, high
        scale = self.upscaling_resize
        if self.resize_mode == 1:
            scale = max(wide / width, high / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


class _One(_Extras):
    image: str


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    data: str


class _Many(_Extras):
    images: list[_Named] = Field(alias="imageList", min_length=1, max_length=MOST_AT_ONCE)


@dataclass(frozen=True)
class _Larger:
    """A picture that was made larger."""

    file: bytes
    told: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)
    noted: BackgroundTask | None = None
    """To be done when it was answered."""


class _PngInfo(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    image: str


@router.post("/extra-single-image", dependencies=[Place])
async def enlarge(
    http: Request, here: Here, jobs: TheirJobs, idempotency_key: IdempotencyKey = None
) -> Response:
    """A picture made larger: by a model, whose four times as large one is then brought to the size
    that is asked for, or by a filter."""
    fields, size = await _read(http, here)
    asked = requests.checked(_One, fields)
    wanted = _wanted(http, fields, size, idempotency_key)
    made = await _larger(http, here, jobs, asked, asked.image, wanted)
    if isinstance(made, Response):
        return made
    return _answered({"image": base64.b64encode(made.file).decode()}, [made])


@router.post("/extra-batch-images", dependencies=[Place])
async def enlarge_all(http: Request, here: Here, jobs: TheirJobs) -> Response:
    """Pictures made larger, one after the other; the first that cannot be is the answer."""
    fields, size = await _read(http, here)
    asked = requests.checked(_Many, fields)
    wanted = _wanted(http, fields, size, None)
    done: list[_Larger] = []
    for each in asked.images:
        made = await _larger(http, here, jobs, asked, each.data, wanted)
        if isinstance(made, Response):
            return made
        done.append(made)
    return _answered({"images": [base64.b64encode(each.file).decode() for each in done]}, done)


@router.post("/png-info")
async def read_info(http: Request, here: Here) -> dict[str, Any]:
    """What the file of a picture says, whoever made it."""
    fields, _ = await _read(http, here)
    text = requests.checked(_PngInfo, fields).image.encode(errors="replace")
    marks = await unless_gone(http, here.inputs.decoders.marks(text, is_text=True))
    said = marks["infotext"] or ""
    items = {"parameters": said} if said else {}
    items |= {name: marks[of] for name, of in _ITEMS.items() if marks[of]}
    return {"info": said, "items": items, "parameters": parameters_in(said)}


_ITEMS = {"darkroom": "exact", "prompt": "workflow"}
"""Chunks of a PNG by their names, and what a decoder calls them."""


async def _read(http: Request, here: Darkroom) -> tuple[dict[str, Any], int]:
    require_json(http)
    return await read_body(http, int(here.settings.max_json_kb * 2**10), requests.PICTURES)


def _wanted(http: Request, fields: dict[str, Any], size: int, key: str | None) -> Wanted:
    """A job of this request, but for its model and its picture."""
    body = {"task": "upscale", "tags": [TAG]}
    told = tuple(a1111_undone.of_extras(fields))
    return Wanted(body, size, key, is_repeat=is_repeat(http.headers), warnings=told)


async def _larger(
    http: Request, here: Darkroom, jobs: Jobs, asked: _Extras, image: str, wanted: Wanted
) -> _Larger | Response:
    """A picture made larger, or the answer that says why not."""
    if asked.upscaler_1.casefold() in PLAIN_UPSCALERS:
        made = await unless_gone(http, _by_filter(here, asked, image))
        return _Larger(made, wanted.warnings)
    offer = await _upscaler(here, asked.upscaler_1)
    body = wanted.body | {"model": offer.card.name, "image": image}
    submitted = await submit(here, jobs, http, replace(wanted, body=body))
    done: list[_Larger] = []

    async def write(job: Job) -> Response:
        if not job.kept:
            return answer(http, about(answers.failure(job), job, is_final=True))
        kept = job.kept[0]
        wished = asked.size(kept.width // UPSCALE, kept.height // UPSCALE)
        made = await in_bytes(here.store, jobs, kept)
        if wished != (kept.width, kept.height):
            _refuse_large(wished, here.settings.max_image_pixels)
            made = await here.inputs.decoders.copy(made, CopyWish("png", None, wished))
        done.append(_Larger(made, job.warnings, headers_of(submitted)))
        return Response()

    response = await answer_of(http, jobs, submitted.job, write)
    return replace(done[0], noted=response.background) if done else response


def _answered(told: dict[str, Any], made: Sequence[_Larger]) -> Response:
    said = html.escape(" ".join(dict.fromkeys(text for each in made for text in each.told)))
    told["html_info"] = f"<p>{said}</p>" if said else ""
    noted = BackgroundTasks([each.noted for each in made if each.noted])
    return Response(json.dumps(told), 200, made[-1].headers, "application/json", noted)


async def _by_filter(here: Darkroom, asked: _Extras, image: str) -> bytes:
    """The file of a picture that no model made larger. Raises InvalidImageError,
    InvalidRequestError, DecodersBusyError."""
    most = here.settings.max_image_pixels
    wish = Wish("picture", True, WHITE, most, max(most, here.settings.max_opened_pixels))
    picture = await here.inputs.decoders.decode(image.encode(errors="replace"), wish)
    if asked.upscaler_1.casefold() == "none":  # which leaves pictures as they are there too
        return picture.png
    wished = asked.size(*picture.size)
    _refuse_large(wished, most)
    return await here.inputs.decoders.copy(picture.png, CopyWish("png", None, wished))


def _refuse_large(size: tuple[int, int], most: int) -> None:
    if max(size) > MAX_SIDE or size[0] * size[1] > most:
        detail = f"Would become {size[0]} x {size[1]}; at most {most} pixels are made here."
        raise InvalidRequestError([FieldError("/upscaling_resize", detail, "too_many_pixels")])


async def _upscaler(here: Darkroom, name: str) -> Offer:
    """What the model offers that is meant. Raises InvalidRequestError, QueueUnavailableError."""
    records = await here.records()
    offers = await to_thread.run_sync(here.offers, records)
    able = {each.card.name: each for each in offers if "upscale" in each.tasks}
    called = requests.model_called(here.catalog, name)
    found = here.catalog.find(called).name if here.catalog.has(called) else called
    if found not in able:
        known = ", ".join(("None", "Lanczos", *able))
        detail = f"No upscaler is called so. Must be one of: {known}."
        raise InvalidRequestError([FieldError("/upscaler_1", detail, "not_one_of")])
    return able[found]
