"""From a body of the OpenAI Images API to one of the native API; in the service, knows no jobs.

Names, values and bounds are OpenAI's: https://platform.openai.com/docs/api-reference/images
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from darkroom import quality
from darkroom.errors import FieldError, InvalidRequestError, MalformedRequestError
from darkroom.field_errors import field_errors
from darkroom.offers import Offer
from darkroom.request import MAX_EDITED, PictureFormat
from service.dialects.edits import edit_by
from service.dialects.sizes import SizeText, sides_in
from service.forms import Part

PICTURES = frozenset({"image", "images", "mask"})
"""Fields of a body whose texts are pictures."""
PARAMS = {
    "task": "model",
    "num_images": "n",
    "width": "size",
    "height": "size",
    "image": "image",
    "images": "image",
    "mask_image": "mask",
    "output": "output_format",
}
"""What native fields are called here, where that is not the same."""

_LISTED = re.compile(r"(image)(?:\[[0-9]{0,3}\])?", re.ASCII)
"""`image`, or `image[]` as many clients call several."""


def _known(word: str) -> str:
    if word not in quality.WORDS:
        raise PydanticCustomError("not_one_of", f"Must be one of: {', '.join(quality.WORDS)}.")
    return word


class Asked(BaseModel):
    """The fields that count of any body of the API. Numbers may be texts, as forms have them."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    prompt: str | None = None
    model: str | None = Field(None, max_length=200)
    n: int = Field(1, ge=1, le=10)
    size: SizeText = "auto"
    quality: Annotated[str, AfterValidator(_known)] = "auto"
    response_format: Literal["url", "b64_json"] | None = None
    output_format: PictureFormat | None = None
    output_compression: int | None = Field(None, ge=0, le=100)
    background: Literal["auto", "opaque"] = "auto"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    # Not OpenAI's: by the names that other servers of this API have as well.
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    scheduler: str | None = None
    loras: list[Any] | None = None
    strength: float | None = None

    @property
    def format(self) -> PictureFormat:
        """Of the pictures."""
        return self.output_format or "png"


_NATIVE = ("negative_prompt", "num_inference_steps", "guidance_scale", "seed", "scheduler", "loras")
"""Fields that the native API has under the same name."""


@dataclass(frozen=True)
class Pictures:
    """The pictures of a body, as texts that the native API takes."""

    images: tuple[str, ...] = ()
    mask: str | None = None


def asked_of(fields: Mapping[str, Any], *, needs_prompt: bool) -> Asked:
    """Check fields. Null and, but for the prompt, empty text is as good as left out, since programs
    send it for what their users did not set. Raises InvalidRequestError."""
    said = {
        name: value
        for name, value in fields.items()
        if value is not None and (value != "" or name == "prompt")
    }
    try:
        asked = Asked.model_validate(said)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, Asked)) from None
    if needs_prompt and asked.prompt is None:
        raise InvalidRequestError([FieldError("/prompt", "This field is required.", "missing")])
    if said.get("markup"):
        detail = (
            "A drawing over the picture is not understood here; send a mask, or say it in words."
        )
        raise InvalidRequestError([FieldError("/markup", detail, "unsupported_field")])
    return asked


def from_form(parts: Sequence[Part]) -> tuple[dict[str, Any], Pictures]:
    """The fields and the pictures of a form. Raises MalformedRequestError, InvalidRequestError."""
    fields: dict[str, Any] = {}
    images: list[str] = []
    mask = None
    for part in parts:
        if part.name in fields.keys() & Asked.model_fields or (part.name == "mask" and mask):
            detail = "Is given more than once."
            raise InvalidRequestError([FieldError(f"/{part.name}", detail, "duplicate")])
        if _LISTED.fullmatch(part.name):
            images.append(_picture(part))
        elif part.name == "mask":
            mask = _picture(part)
        else:
            fields[part.name] = part.text if not part.is_file else part.content
    if isinstance(loras := fields.get("loras"), str):
        fields["loras"] = _json(loras)
    return fields, Pictures(_few(images), mask)


def from_json(body: Mapping[str, Any]) -> Pictures:
    """The pictures of a JSON body: `images` as objects with `image_url` or `file_id`, or texts.
    Raises InvalidRequestError."""
    given = body.get("images", body.get("image")) or []
    listed = given if isinstance(given, list) else [given]
    images = [_reference(each, f"/images/{index}") for index, each in enumerate(listed)]
    mask = body.get("mask")
    return Pictures(_few(images), None if mask is None else _reference(mask, "/mask"))


def generation(asked: Asked, offer: Offer) -> dict[str, Any]:
    """The native body of a picture from a prompt."""
    return {"task": "text-to-image", **_common(asked, offer)}


def told_of_pictures(fields: Mapping[str, Any]) -> list[str]:
    """What is to be told of a body that brings pictures where none are taken."""
    given = [name for name in ("image", "images", "mask") if fields.get(name)]
    what = f"Pictures are changed by /v1/images/edits; {', '.join(given)} did nothing here."
    return [what] if given else []


def edit(asked: Asked, offer: Offer, pictures: Pictures) -> tuple[dict[str, Any], list[str]]:
    """The native body of a picture from others, and what is to be told of how it is made. Raises
    InvalidRequestError."""
    by, told = edit_by(offer, pictures.images, pictures.mask, asked.strength)
    return _common(asked, offer) | by, told


def variation(asked: Asked, offer: Offer, pictures: Pictures) -> dict[str, Any]:
    """The native body of a picture like another."""
    return {"task": "image-to-image", "image": pictures.images[0], **_common(asked, offer)}


def _common(asked: Asked, offer: Offer) -> dict[str, Any]:
    card = offer.card
    given: dict[str, Any] = {name: getattr(asked, name) for name in ("prompt", *_NATIVE)}
    if given["num_inference_steps"] is None:
        steps = quality.steps_of(asked.quality, card.quality, offer.steps, offer.limits.max_steps)
        given["num_inference_steps"] = steps
    given |= sides_in(asked.size)
    output: dict[str, Any] = {"format": asked.format}
    if asked.output_compression is not None:
        output["quality"] = max(asked.output_compression, 1)
    if asked.stream and asked.partial_images:
        given["preview"] = True
    body = {name: value for name, value in given.items() if value is not None}
    return body | {"num_images": asked.n, "output": output}


def _picture(part: Part) -> str:
    return base64.b64encode(part.content).decode() if part.is_file else part.text


def _reference(given: Any, where: str) -> str:
    if isinstance(given, Mapping):
        given = given.get("image_url") or given.get("file_id")
        given = given.get("url") if isinstance(given, Mapping) else given  # as in chats
    if not isinstance(given, str) or not given:
        detail = "Must be an object with image_url or file_id."
        raise InvalidRequestError([FieldError(where, detail, "wrong_type")])
    return given


def _few(images: Iterable[str]) -> tuple[str, ...]:
    images = tuple(images)
    if not images:
        raise InvalidRequestError([FieldError("/images", "This field is required.", "missing")])
    if len(images) > MAX_EDITED:
        detail = f"May have at most {MAX_EDITED} entries."
        raise InvalidRequestError([FieldError("/images", detail, "too_many")])
    return images


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedRequestError("The field 'loras' is no JSON.") from None
