"""From a body of Replicate's API to one of the native API; in the service, knows no jobs.

Names are those that its models of pictures have in common:
https://replicate.com/docs/reference/http#predictions.create
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.datastructures import Headers

from darkroom import named_loras
from darkroom.catalog import Catalog
from darkroom.errors import FieldError, InvalidRequestError, ModelNotFoundError
from darkroom.field_errors import field_errors
from darkroom.foreign_names import Meant, meant
from darkroom.offers import Offer
from darkroom.predictions import OWNER
from darkroom.sizes import size_like
from darkroom.webhook import ENDS, MessageType
from service import preferences
from service.dialects.edits import edit_by
from service.dialects.sizes import SizeText, sides_in

IMAGES = (
    *("image", "images", "image_input", "input_image", "input_images"),
    *(f"input_image_{index}" for index in range(2, 9)),
)
"""Inputs that are pictures to begin with, texts or lists of them; in the order that counts."""
PICTURES = frozenset({*IMAGES, "mask"})
"""Fields of a body whose texts are pictures."""

_ALIASES = {
    "num_images": "num_outputs",
    "n": "num_outputs",
    "guidance": "guidance_scale",
    "strength": "prompt_strength",
}
"""Other names of inputs, where the usual one is not given."""
_SCHEDULERS = {"KarrasDPM": "DPM++ 2M Karras"}
"""Names of noise schedulers that nobody else has."""
_EVENTS: dict[str, tuple[MessageType, ...]] = {
    "start": ("job.started",),
    "output": ("job.succeeded",),
    "logs": (),
    "completed": ENDS,
}
"""What webhooks tell, by the words for it here. Output comes with the end, all at once."""
_MOST_WAIT_S = preferences.LONGEST_WAIT_S
_MARGIN_S = 0.25
"""By how much an answer comes before the time that its client waits."""
_RATIO = re.compile(r"([1-9][0-9]{0,2}):([1-9][0-9]{0,2})", re.ASCII)
_LIFE = re.compile(r"(?:([0-9]{1,3})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s?)?", re.ASCII)


def _ratio(text: str) -> str:
    if text not in ("custom", "match_input_image") and not _RATIO.fullmatch(text):
        raise PydanticCustomError("malformed", "Must be a ratio like 16:9.")
    return text


class Body(BaseModel):
    """The fields that count of a body."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    version: str | None = Field(None, max_length=200)
    input: dict[str, Any] = Field(default_factory=dict)
    webhook: str | None = None
    webhook_completed: str | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None


class Input(BaseModel):
    """The inputs that count, pictures aside."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True
    )

    prompt: str | None = None
    """What the picture shows."""
    negative_prompt: str | None = None
    """What it should not show."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    size: SizeText | None = None
    """Both, like 512x512."""
    aspect_ratio: Annotated[str, AfterValidator(_ratio)] | None = None
    """Their ratio, like 16:9, with as many pixels as is usual for the model."""
    num_outputs: int | None = None
    """How many pictures."""
    num_inference_steps: int | None = None
    """Denoising steps."""
    guidance_scale: float | None = None
    """How strongly to follow the prompt."""
    prompt_strength: float | None = None
    """How much of a picture to make anew, 0 to 1."""
    scheduler: str | None = None
    """The noise scheduler."""
    seed: int | None = None
    """Where the noise starts from."""
    output_format: Literal["png", "jpg", "jpeg", "webp"] | None = None
    """How pictures are written."""
    output_quality: int | None = Field(None, ge=0, le=100)
    """Of jpg and webp."""
    lora_weights: str | None = None
    """A LoRA of the model, by its name."""
    lora_scale: float | None = None
    """How strongly it works."""
    # Not Replicate's.
    loras: list[Any] | None = None
    """LoRAs of the model: `name` and `scale` of each."""


@dataclass(frozen=True)
class Asked:
    """The inputs of a prediction, before a model was looked for."""

    input: Input
    images: tuple[str, ...]
    mask: str | None


_SAME = (
    *("prompt", "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale"),
    "seed",
)
"""Inputs that the native API has under the same name."""


def body_of(fields: Mapping[str, Any]) -> Body:
    """Check a body, but for its inputs. Raises InvalidRequestError."""
    said = {name: value for name, value in fields.items() if value is not None}
    try:
        return Body.model_validate(said)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, Body)) from None


def asked_of(given: Mapping[str, Any]) -> Asked:
    """Check inputs; null is as good as left out. Raises InvalidRequestError."""
    said = {name: value for name, value in given.items() if value is not None}
    for name, usual in _ALIASES.items():
        if name in said:
            said.setdefault(usual, said[name])
    try:
        known = Input.model_validate(said)
    except ValidationError as error:
        faults = field_errors(error, Input)
        raise InvalidRequestError(
            [replace(each, pointer=f"/input{each.pointer}") for each in faults]
        ) from None
    images = [text for name in IMAGES if name in said for text in _texts(said[name], name)]
    masks = _texts(said["mask"], "mask") if "mask" in said else []
    return Asked(known, tuple(images), masks[0] if masks else None)


def model_meant(catalog: Catalog, name: str, version: str | None = None) -> Meant:
    """The model that is meant by `OWNER/NAME` and a version, or by one of them: our own versions
    are called as their models are. Raises ModelNotFoundError."""
    bare = name.removeprefix(f"{OWNER}/")
    for each in filter(None, (version, bare)):
        if each in catalog.aliases or _is_known(catalog, each):
            return meant(catalog, each)
    return meant(catalog, bare)


def parts_of(version: str) -> tuple[str, str | None]:
    """What `version` of a body names: `OWNER/NAME:VERSION`, `OWNER/NAME`, or a version alone."""
    name, _, exact = version.partition(":")
    return name, exact or None


def webhook_of(body: Body, root: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The webhook of the native API, which tells of the job as a prediction, and what is to be told
    of it. `root`: the address of the service."""
    url, wanted = body.webhook, body.webhook_events_filter
    if url is None and body.webhook_completed is not None:
        url, wanted = body.webhook_completed, ["completed"]
    if url is None:
        return None, []
    events = {event for name in wanted or _EVENTS for event in _EVENTS[name]}
    if not events:
        return None, ["Webhooks do not tell logs; nobody is told of this prediction."]
    return {"url": url, "events": sorted(events), "prediction_root": root}, []


def native_of(asked: Asked, offer: Offer) -> tuple[dict[str, Any], list[str]]:
    """The body of the native API, and what is to be told of how it is made. Raises
    InvalidRequestError."""
    given = asked.input
    body = {name: getattr(given, name) for name in _SAME}
    body |= _sides(given, offer)
    body["num_images"] = given.num_outputs
    body["scheduler"] = _SCHEDULERS.get(given.scheduler or "", given.scheduler)
    body["loras"] = _loras(given)
    body = {name: value for name, value in body.items() if value is not None}
    body["output"] = _output(given)
    if asked.images:
        by, told = edit_by(offer, asked.images, asked.mask, given.prompt_strength)
        return body | by, told
    if asked.mask:
        raise InvalidRequestError(
            [FieldError("/input/image", "This field is required beside a mask.", "missing")]
        )
    return body | {"task": "text-to-image"}, []


def wait_s(headers: Headers) -> float:
    """For how many seconds to hold an answer back: a little less than `Prefer` says, so that it is
    there in time."""
    asked_s = preferences.wait_s(headers)
    if asked_s is None:
        asked_s = _MOST_WAIT_S if preferences.wants_wait(headers) else 0
    return max(asked_s - _MARGIN_S, 0.0)


def life_s(headers: Headers) -> float | None:
    """Seconds after which a prediction is canceled, by `Cancel-After`: 90, 90s, 1m30s, 1h. Raises
    InvalidRequestError."""
    text = headers.get("cancel-after")
    if text is None:
        return None
    found = _LIFE.fullmatch(text.strip())
    hours, minutes, seconds = (int(each or 0) for each in found.groups()) if found else (0, 0, 0)
    if not (life := hours * 3600 + minutes * 60 + seconds):
        detail = "Must be a time like 90, 90s or 1m30s."
        raise InvalidRequestError([FieldError("/header/cancel-after", detail, "malformed")])
    return life


def _is_known(catalog: Catalog, name: str) -> bool:
    try:
        named_loras.find(catalog, name)
    except ModelNotFoundError:
        return False
    return True


def _texts(given: Any, name: str) -> list[str]:
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(each, str) for each in texts):
        detail = "Must be text: a URL, a data URI or the address of a file."
        raise InvalidRequestError([FieldError(f"/input/{name}", detail, "wrong_type")])
    return [each for each in texts if each]


def _sides(given: Input, offer: Offer) -> dict[str, int]:
    """The sides that `size` or `aspect_ratio` mean; none where nobody knows the model's size."""
    if given.size and (sides := sides_in(given.size)):
        return sides
    if given.aspect_ratio and (ratio := _RATIO.fullmatch(given.aspect_ratio)):
        width, height = size_like((int(ratio[1]), int(ratio[2])), offer)
        return {"width": width, "height": height} if width and height else {}
    return {}


def _output(given: Input) -> dict[str, Any]:
    kind = "jpeg" if given.output_format == "jpg" else given.output_format or "png"
    quality = given.output_quality
    return {"format": kind} | ({} if quality is None else {"quality": max(quality, 1)})


def _loras(given: Input) -> list[Any] | None:
    if not given.lora_weights:
        return given.loras
    scale = {} if given.lora_scale is None else {"scale": given.lora_scale}
    return [{"name": given.lora_weights} | scale, *(given.loras or [])]
