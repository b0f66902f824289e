"""From a body of Google's API of pictures to one of the native API; in the service, knows no jobs.

Names and values are those of `models.predict` (Imagen) and `models.generateContent` (Gemini):
https://ai.google.dev/api/generate-content
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import field_errors
from darkroom.offers import Offer
from darkroom.sizes import Sides, bounds, of_shape
from service.dialects.edits import edit_by

PICTURES = frozenset({"data"})
"""Fields of a body whose texts are pictures."""

_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
"""Of a square of each size that has a name; other shapes have as many pixels."""
_RATIO = re.compile(r"([1-9][0-9]{0,3}):([1-9][0-9]{0,3})", re.ASCII)
_OF_PICTURES = ("image", "mask", "referenceImages")
"""What Imagen's instances have besides, to change pictures."""


def _ratio(text: str) -> str:
    if not _RATIO.fullmatch(text):
        raise PydanticCustomError("malformed", "Must be width and height like 16:9.")
    return text


def _with_pictures(kinds: list[str]) -> list[str]:
    if kinds and "IMAGE" not in map(str.upper, kinds):
        raise PydanticCustomError("not_one_of", "Must hold IMAGE: nothing else is made here.")
    return kinds


def _from_words(instance: Any) -> Any:
    if isinstance(instance, Mapping) and any(map(instance.get, _OF_PICTURES)):
        sentence = "Pictures are changed by :generateContent; leave image, mask and "
        raise PydanticCustomError("unsupported_field", f"{sentence}referenceImages out.")
    return instance


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, Mapping) else given


Int = Annotated[int, Strict()]
Ratio = Annotated[str, AfterValidator(_ratio)]
Size = Literal["512", "1K", "2K", "4K"]
Listed = BeforeValidator(_listed)
"""One may stand where a list of them belongs, as there."""


class _Fields(BaseModel):
    """Those that count, by both names that Google's JSON has: `inlineData` and `inline_data`."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
    )


class _Output(_Fields):
    mime_type: Literal["image/png", "image/jpeg", "image/webp"] | None = None
    compression_quality: Annotated[Int, Field(ge=0, le=100)] | None = None


class _Parameters(_Fields):
    sample_count: Int | None = None
    aspect_ratio: Ratio | None = None
    sample_image_size: Size | None = None
    negative_prompt: str | None = None
    guidance_scale: Annotated[float, Strict()] | None = None
    seed: Int | None = None
    output_options: _Output | None = None


class _Instance(_Fields):
    prompt: str


class _Prediction(_Fields):
    instances: Annotated[
        list[Annotated[_Instance, BeforeValidator(_from_words)]],
        Listed,
        Field(min_length=1, max_length=1),
    ]
    parameters: _Parameters | None = None


class _Blob(_Fields):
    data: str


class _File(_Fields):
    file_uri: str


class _Part(_Fields):
    text: str | None = None
    inline_data: _Blob | None = None
    file_data: _File | None = None

    @property
    def picture(self) -> str | None:
        if self.inline_data:
            return self.inline_data.data
        return self.file_data.file_uri if self.file_data else None


class _Content(_Fields):
    role: str | None = None
    parts: Annotated[list[_Part], Listed] = []

    @property
    def pictures(self) -> tuple[str, ...]:
        return tuple(part.picture for part in self.parts if part.picture is not None)


class _ImageConfig(_Fields):
    aspect_ratio: Ratio | None = None
    image_size: Size | None = None
    image_output_options: _Output | None = None


class _Generation(_Fields):
    candidate_count: Int | None = None
    seed: Int | None = None
    response_modalities: Annotated[list[str], AfterValidator(_with_pictures)] | None = None
    image_config: _ImageConfig | None = None


class _Generated(_Fields):
    contents: Annotated[list[_Content], Listed]
    system_instruction: Any = None
    generation_config: _Generation | None = None


Body = TypeVar("Body", _Prediction, _Generated)


@dataclass(frozen=True)
class Asked:
    """A request by either method."""

    prompt: str | None
    fields: Mapping[str, Any]
    """More of the native API; None where nothing is said."""
    output: _Output
    ratio: str | None
    size: str | None
    names: Mapping[str, str]
    """Pointers to where these two stand."""
    images: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    """What is not done as asked."""


def predicted(fields: Mapping[str, Any]) -> Asked:
    """Read the body of `:predict`. Raises InvalidRequestError."""
    body = _checked(_Prediction, fields)
    given = body.parameters or _Parameters()
    native = {"num_images": given.sample_count, "negative_prompt": given.negative_prompt}
    return Asked(
        body.instances[0].prompt,
        native | {"guidance_scale": given.guidance_scale, "seed": given.seed},
        given.output_options or _Output(),
        given.aspect_ratio,
        given.sample_image_size,
        {"ratio": "/parameters/aspectRatio", "size": "/parameters/sampleImageSize"},
    )


def generated(fields: Mapping[str, Any]) -> Asked:
    """Read the body of `:generateContent`. Of a conversation the last turn that is not the model's
    counts, with the newest pictures that had been shown by then. Raises InvalidRequestError."""
    body = _checked(_Generated, fields)
    turns = [index for index, each in enumerate(body.contents) if each.role != "model"]
    if not turns:
        raise _wrong("/contents", "There must be a turn of the user.", "missing")
    last = body.contents[turns[-1]]
    for index, part in enumerate(last.parts):
        if part.text is None and part.picture is None:
            where = f"/contents/{turns[-1]}/parts/{index}"
            raise _wrong(where, "Must have text, inlineData or fileData.", "missing")
    shown = (each.pictures for each in reversed(body.contents[: turns[-1] + 1]) if each.pictures)
    told = ["Of the conversation only the last turn counts."] if len(turns) > 1 else []
    if body.system_instruction:
        told.append("systemInstruction does not count: prompts are taken as they are.")
    given = body.generation_config or _Generation()
    config = given.image_config or _ImageConfig()
    path = "/generationConfig/imageConfig"
    return Asked(
        "\n".join(part.text for part in last.parts if part.text) or None,
        {"num_images": given.candidate_count, "seed": given.seed},
        config.image_output_options or _Output(),
        config.aspect_ratio,
        config.image_size,
        {"ratio": f"{path}/aspectRatio", "size": f"{path}/imageSize"},
        next(shown, ()),
        tuple(told),
    )


def native_of(
    asked: Asked, images: Sequence[str], offer: Offer
) -> tuple[dict[str, Any], list[str]]:
    """The body of the native API, and what is to be told of how the picture is made. `images`: its
    pictures, as the native API takes them. Raises InvalidRequestError."""
    given = {"prompt": asked.prompt, **asked.fields}
    body = {name: value for name, value in given.items() if value is not None}
    if sides := _sides(asked, offer):
        body |= {"width": sides[0], "height": sides[1]}
    output: dict[str, Any] = {
        "format": (asked.output.mime_type or "image/png").removeprefix("image/")
    }
    if asked.output.compression_quality is not None and output["format"] != "png":
        output |= {"quality": max(asked.output.compression_quality, 1)}
    body["output"] = output
    if not images:
        return body | {"task": "text-to-image"}, list(asked.told)
    by, told = edit_by(offer, images)
    return body | by, [*asked.told, *told]


def _sides(asked: Asked, offer: Offer) -> Sides | None:
    """The size that is asked for. None: the usual one. Raises InvalidRequestError."""
    if not (asked.ratio or asked.size):
        return None
    if asked.images and not asked.ratio:
        raise _wrong(asked.names["size"], "Goes with aspectRatio alone.", "missing")
    width, height = map(int, (asked.ratio or "1:1").split(":"))
    lowest, highest = bounds(offer.limits)
    if asked.size:
        pixels: float = _SIDES[asked.size] ** 2
    elif offer.width and offer.height:  # or as few more or less as it takes
        long = max(width, height) / min(width, height)
        pixels = min(max(offer.width * offer.height, lowest**2 * long), highest**2 / long)
    else:
        detail = "The size of this model's pictures is not known before it was loaded once."
        raise _wrong(asked.names["ratio"], detail, "unsupported_field")
    scale = float((pixels / (width * height)) ** 0.5)
    exact = round(width * scale), round(height * scale)
    if min(exact) < lowest or max(exact) > highest:
        detail = (
            f"Would be {exact[0]} x {exact[1]}; sides of this model's pictures have {lowest} to "
            f"{highest} pixels."
        )
        raise _wrong(asked.names["ratio" if asked.ratio else "size"], detail, "out_of_range")
    return of_shape((width, height), pixels, offer.limits)


def _checked(cls: type[Body], fields: Mapping[str, Any]) -> Body:
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, cls)) from None


def _wrong(pointer: str, detail: str, code: str) -> InvalidRequestError:
    return InvalidRequestError([FieldError(pointer, detail, code)])
