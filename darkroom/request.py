"""What a client may ask, per task; used by service and worker, knows neither HTTP nor torch.

A request class states the fields of one task with every value filled in: that is what a job keeps
and what a worker reads. What clients may leave out, and the bounds of each number, depend on the
model, so `request_class` narrows a task's class by a model's offer. Its JSON Schema is the one
that `GET /api/v1/models/{id}` shows and the one that the check uses.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from darkroom.errors import FieldError, InvalidRequestError, UnsupportedError
from darkroom.job import Priority
from darkroom.models import Offer

Model = TypeVar("Model", bound=BaseModel)

MAX_SEED = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

SATURATED_GUIDANCE = 15.0

_CONTROL = frozenset(chr(c) for c in range(32)) - {"\n", "\t"} | {"\x7f"}


def _printable(text: str) -> str:
    if bad := _CONTROL.intersection(text):
        names = ", ".join(f"U+{ord(c):04X}" for c in sorted(bad))
        raise PydanticCustomError("control_character", f"Must not hold control characters: {names}")
    return text


Text = Annotated[str, AfterValidator(_printable)]


class Request(BaseModel):
    """Fields that every task has."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    task: str
    """What to do."""
    model: str = Field(max_length=200)
    """A model's name or alias; `GET /api/v1/models` lists them."""


class TextToImage(Request):
    """A picture from a prompt."""

    task: Literal["text-to-image"]
    """What to do."""
    prompt: Text
    """What the picture shows."""
    negative_prompt: Text
    """What it should not show; it stands in for the empty prompt of classifier-free guidance."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    num_inference_steps: int
    """Denoising steps; more take longer and are often better, up to a point."""
    guidance_scale: float
    """How strongly to follow the prompt; 1 and less switch guidance off, 7 to 9 is usual."""
    scheduler: str
    """The noise scheduler, by its diffusers class name."""
    seed: int = Field(ge=0, le=MAX_SEED)
    """Where the noise starts from; picture i of a job uses seed + i. Drawn if left out."""
    num_images: int
    """How many pictures to make."""


class ImageToImage(TextToImage):
    """A picture from a prompt and a picture to start from."""

    task: Literal["image-to-image"]
    """What to do."""
    image: str
    """The picture to start from: base64, a data URI, or `file_<sha256>` of an earlier input."""
    strength: float = Field(ge=0.0, le=1.0)
    """0 keeps the original, 1 makes all new; `num_inference_steps * strength` steps are made."""


GenerationRequest = TextToImage | ImageToImage

TASKS: dict[str, type[TextToImage]] = {
    get_args(cls.model_fields["task"].annotation)[0]: cls for cls in (TextToImage, ImageToImage)
}

INPUT_IMAGES = ("image",)
"""Fields that hold pictures; the service replaces each by `file_<sha256>` at submit."""


class JobOptions(BaseModel):
    """What a client may say about a job besides what it asks for."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    priority: Priority = "normal"
    """Which of the model's three queues the job waits in."""
    tags: list[Annotated[Text, Field(min_length=1, max_length=64)]] = Field([], max_length=16)
    """Words to find the job by in listings."""
    metadata: dict[
        Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]
    ] = Field({}, max_length=16)
    """Anything the client wants to get back with the job."""
    deadline_s: Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)] | None = None
    """Cancel the job if it is not done so many seconds after submission."""


@dataclass(frozen=True)
class Parsed:
    """A checked body. `request` may still lack its seed, and its size, which can follow an input
    image; `completed` fills them in."""

    request: TextToImage
    options: JobOptions
    warnings: tuple[str, ...]


def load_request(values: Mapping[str, Any]) -> GenerationRequest:
    """The request of a stored job, checked again. Raises InvalidRequestError."""
    cls = TASKS.get(str(values.get("task")))
    if cls is None:
        raise UnsupportedError(f"The task {str(values.get('task'))[:50]!r} is not known here.")
    return _validated(cls, values)


def infer_task(body: Mapping[str, Any]) -> str:
    """The task that the given fields mean, when `task` was left out."""
    return "image-to-image" if body.get("image") is not None else "text-to-image"


def parse(body: Mapping[str, Any], offer: Offer) -> Parsed:
    """Check a client's `body` against what a model offers and fill in what it left out.

    Raises InvalidRequestError with one entry per wrong field."""
    asked = {k: v for k, v in body.items() if k not in JobOptions.model_fields}
    task = asked.setdefault("task", infer_task(body))
    if task not in offer.tasks:
        raise InvalidRequestError([_cannot(task, offer)])
    asked["model"] = offer.card.name
    options = {k: v for k, v in body.items() if k in JobOptions.model_fields}
    errors: list[FieldError] = []
    request = _collect(request_class(task, offer), asked, errors)
    checked_options = _collect(JobOptions, options, errors)
    if errors:
        raise InvalidRequestError(errors)
    return Parsed(request, checked_options, tuple(_warnings(request)))


def completed(
    request: TextToImage, offer: Offer, image_size: tuple[int, int] | None
) -> TextToImage:
    """`request` with seed and size filled in. The size is the one asked for, else the shape of
    the input image at the model's usual number of pixels, else the model's usual size."""
    width, height = request.width, request.height
    if width is None and height is None and image_size is not None:
        width, height = _like(image_size, offer)
    filled = {
        "width": width or offer.width,
        "height": height or offer.height,
        "seed": secrets.randbelow(2**32) if request.seed is None else request.seed,
    }
    narrowed = _validated(request_class(request.task, offer), request.model_dump() | filled)
    return _validated(TASKS[request.task], narrowed.model_dump())


@lru_cache(maxsize=256)
def request_class(task: str, offer: Offer) -> type[TextToImage]:
    """The class of `task` with defaults and bounds as the model's card sets them."""
    base, limits = TASKS[task], offer.card.limits
    fields = {
        name: (kind, Field(default, description=base.model_fields[name].description, **bounds))
        for name, (kind, default, bounds) in _narrowed(task, offer).items()
        if name in base.model_fields
    }
    return create_model(
        base.__name__,
        __base__=base,
        __doc__=base.__doc__,
        __validators__={"few_pixels": _pixel_check(limits.max_pixels)},
        **fields,
    )


def _narrowed(task: str, offer: Offer) -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    """Type, default and bounds of each field whose bounds depend on the model."""
    limits, defaults = offer.card.limits, offer.card.defaults
    chars = {"max_length": limits.max_prompt_chars}
    side = {"ge": limits.min_size, "le": limits.max_size, "multiple_of": limits.size_multiple}
    if task == "text-to-image":
        width, height = (int, offer.width, side), (int, offer.height, side)
    else:
        width = height = (Annotated[int, Field(**side)] | None, None, {})
    return {
        "task": (Literal[task], task, {}),
        "model": (str, offer.card.name, {}),
        "prompt": (Text, ..., {"min_length": 1, **chars}),
        "negative_prompt": (Text, defaults.negative_prompt, chars),
        "width": width,
        "height": height,
        "num_inference_steps": (int, offer.steps, {"ge": 1, "le": limits.max_steps}),
        "guidance_scale": (float, offer.guidance, {"ge": 0, "le": limits.max_guidance_scale}),
        "scheduler": (Literal[offer.schedulers], offer.scheduler, {}),
        "seed": (Annotated[int, Field(ge=0, le=MAX_SEED)] | None, None, {}),
        "num_images": (int, 1, {"ge": 1, "le": limits.max_images}),
        "strength": (float, defaults.strength, {"ge": 0, "le": 1}),
    }


def _pixel_check(max_pixels: int) -> Any:
    def few_pixels(self: TextToImage) -> TextToImage:
        if self.width and self.height and self.width * self.height > max_pixels:
            raise PydanticCustomError(
                "too_many_pixels",
                f"width x height must be at most {max_pixels} pixels for this model",
            )
        return self

    return model_validator(mode="after")(few_pixels)


def _like(image_size: tuple[int, int], offer: Offer) -> tuple[int, int]:
    """The size nearest to the image's shape with the model's usual number of pixels."""
    limits = offer.card.limits
    scale = (offer.width * offer.height / (image_size[0] * image_size[1])) ** 0.5
    step = limits.size_multiple

    def fit(side: int) -> int:
        lowest, highest = -(-limits.min_size // step) * step, limits.max_size // step * step
        return min(max(round(side * scale / step) * step, lowest), highest)

    return fit(image_size[0]), fit(image_size[1])


def _warnings(request: TextToImage) -> list[str]:
    if request.guidance_scale > SATURATED_GUIDANCE:
        return [
            f"guidance_scale {request.guidance_scale:g} is above {SATURATED_GUIDANCE:g}: "
            "expect saturated colours and artefacts."
        ]
    return []


def _cannot(task: Any, offer: Offer) -> FieldError:
    known = " or ".join(offer.tasks) or "nothing yet"
    if not isinstance(task, str) or task not in TASKS:
        detail = f"Must be one of: {', '.join(TASKS)}."
    else:
        detail = f"The model {offer.card.name!r} does {known}, not {task}."
    return FieldError("/task", detail, "unsupported_task")


def _validated(cls: type[TextToImage], values: Mapping[str, Any]) -> TextToImage:
    errors: list[FieldError] = []
    request = _collect(cls, values, errors)
    if errors:
        raise InvalidRequestError(errors)
    return request


def _collect(cls: type[Model], values: Mapping[str, Any], errors: list[FieldError]) -> Model:
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        errors.extend(_field_error(e) for e in error.errors(include_url=False, include_input=False))
        return cls.model_construct()


_SENTENCES = {
    "extra_forbidden": "There is no such field.",
    "missing": "This field is required.",
    "finite_number": "Must be a finite number.",
}


def _field_error(error: Any) -> FieldError:
    """A JSON pointer (RFC 6901) and a sentence; never the input itself, which may be private."""
    where = [str(part) for part in error["loc"] if not _union_branch(part)]
    if error["type"] == "too_many_pixels":
        where = ["width"]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in where)
    return FieldError(pointer, _SENTENCES.get(error["type"], error["msg"]), error["type"])


def _union_branch(part: Any) -> bool:
    return isinstance(part, str) and part.startswith(("constrained-", "function-"))
