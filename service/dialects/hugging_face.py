"""Words and errors of Hugging Face's inference endpoints; in the service, knows no jobs.

Names are those of the tasks text-to-image and image-to-image:
https://huggingface.co/docs/inference-providers/tasks/image-to-image
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import field_errors
from darkroom.offers import Offer
from darkroom.request import PictureFormat
from service.dialects.edits import edit_by
from service.errors import Fault

PICTURES = frozenset({"inputs"})
"""Fields of a body whose texts are pictures."""

_FORMATS: dict[str, PictureFormat] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/webp": "webp",
}


_HEADS = ("data:image/", "iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")
"""How pictures begin as texts: data URIs; PNG, JPEG, WebP and GIF in base64."""


class _Size(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    width: int
    height: int


class Parameters(BaseModel):
    """Those that count of the `parameters` of a body."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    prompt: str | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    target_size: _Size | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    seed: int | None = None
    strength: float | None = None
    # Not Hugging Face's.
    loras: list[Any] | None = None


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    inputs: str
    parameters: Parameters = Field(default_factory=Parameters)


@dataclass(frozen=True)
class Asked:
    """A request: a prompt, a picture, or both."""

    prompt: str | None
    image: str | None
    """As the native API takes it."""
    parameters: Parameters


def asked_of(fields: Mapping[str, Any]) -> Asked:
    """Read a JSON body: its `inputs` are a picture where `parameters` have a prompt beside it or
    they begin like one, and the prompt where not. Raises InvalidRequestError."""
    said = {name: value for name, value in fields.items() if value is not None}
    try:
        body = _Body.model_validate(said)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, _Body)) from None
    if body.parameters.prompt is None and not body.inputs.startswith(_HEADS):
        return Asked(body.inputs, None, body.parameters)
    return Asked(body.parameters.prompt, body.inputs, body.parameters)


def native_of(
    asked: Asked, offer: Offer, output: PictureFormat
) -> tuple[dict[str, Any], list[str]]:
    """The body of the native API, and what is to be told of how the picture is made. Raises
    InvalidRequestError."""
    apart = {"prompt", "target_size", "strength"}
    given = asked.parameters.model_dump(exclude=apart, exclude_none=True)
    if size := asked.parameters.target_size:
        given |= size.model_dump()
    body = given | {"output": {"format": output}}
    if asked.prompt is not None:
        body["prompt"] = asked.prompt
    if asked.image is None:
        return body | {"task": "text-to-image"}, []
    by, told = edit_by(offer, [asked.image], strength=asked.parameters.strength)
    return body | by, told


@contextmanager
def by_their_names(asked: Asked) -> Iterator[None]:
    """What is wrong with the native body of a request is told by the names that its fields have in
    the request. Raises InvalidRequestError."""
    try:
        yield
    except InvalidRequestError as error:
        named = [replace(each, pointer=_pointer(each.pointer, asked)) for each in error.errors]
        raise InvalidRequestError(named) from None


def _pointer(native: str, asked: Asked) -> str:
    name = native.split("/")[1] if native else ""
    if name in ("image", "images") or (name == "prompt" and asked.image is None):
        return "/inputs"
    if name in ("width", "height") and asked.parameters.target_size:
        return f"/parameters/target_size{native}"
    return f"/parameters{native}" if name in Parameters.model_fields else native


def format_of(accept: str) -> PictureFormat:
    """The first that a client accepts, else PNG."""
    kinds = (each.partition(";")[0].strip().lower() for each in accept.split(","))
    return next((_FORMATS[kind] for kind in kinds if kind in _FORMATS), "png")


def write_error(_: Request, fault: Fault) -> Response:
    """A fault in the shape of this API, with all that is wrong in one text: clients show it."""
    text = " ".join(map(_sentence, fault.errors)) or fault.detail
    return Response(json.dumps({"error": text}), fault.status, media_type="application/json")


def _sentence(error: FieldError) -> str:
    name = error.pointer.strip("/")
    return f"{name}: {error.detail}" if name else error.detail
