"""From a client's body to a checked request; used by the service, knows neither HTTP nor torch.

What may be left out, and the bounds of each number, depend on the model: `request_class` narrows
a task's class by a model's offer. Its JSON Schema is the one that `GET /api/v1/models/{id}` shows
and the one that the check uses.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from darkroom import schedulers
from darkroom.catalog import Limits
from darkroom.errors import FieldError, InvalidRequestError
from darkroom.job import Priority
from darkroom.offers import Offer, diffusers_table
from darkroom.request import (
    MAX_SEED,
    TASKS,
    UPSCALE,
    Control,
    Fields,
    Lora,
    Request,
    Text,
    field_errors,
    pointer,
)

Model = TypeVar("Model", bound=BaseModel)
Offers = Callable[[], Iterable[Offer]]

SATURATED_GUIDANCE = 15.0

_SIZE = {"width", "height"}


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

    request: Request
    options: JobOptions
    warnings: tuple[str, ...]


def no_others() -> Iterable[Offer]:
    return ()


def parse(body: Mapping[str, Any], offer: Offer, others: Offers = no_others) -> Parsed:
    """Check a client's `body` against what a model offers and fill in what it left out.

    `others` are all offers, asked for only to say which models can what this one cannot. Raises
    InvalidRequestError with one entry per wrong field."""
    asked = {k: v for k, v in body.items() if k not in JobOptions.model_fields}
    task = asked.setdefault("task", infer_task(body, offer))
    if task not in offer.tasks:
        raise InvalidRequestError([_cannot_do(task, offer, others)])
    asked["model"] = offer.card.name
    errors = list(_not_taken(asked, task, offer, others))
    asked = _plain_scheduler({k: v for k, v in asked.items() if pointer(k) not in _at(errors)})
    options = {k: v for k, v in body.items() if k in JobOptions.model_fields}
    request = _collect(request_class(task, offer), asked, errors)
    checked_options = _collect(JobOptions, options, errors)
    errors += [] if errors else _disagreements(request)
    if errors:
        raise InvalidRequestError(errors)
    return Parsed(request, checked_options, tuple(_warnings(request)))


def infer_task(body: Mapping[str, Any], offer: Offer) -> str:
    """The task that the given fields mean, when `task` was left out; what a model that does only
    one thing does, where they do not say."""
    given = {name for name, value in body.items() if value is not None}
    if "regions" in given:
        task = "layout-to-image"
    elif "class_label" in given:
        task = "class-to-image"
    elif given & {"mask_image", "padding"}:
        task = "inpaint"
    elif "image" in given:
        task = "image-to-image"
    else:
        task = "text-to-image"
    return task if task in offer.tasks or len(offer.tasks) != 1 else offer.tasks[0]


def completed(request: Request, offer: Offer, image_size: tuple[int, int] | None) -> Request:
    """`request` with seed and size filled in. The size is the one asked for, else the shape of
    the input image at the model's usual number of pixels, else the model's usual size; upscaled
    pictures have that of the input image times `UPSCALE`.

    Only the fields that the model takes count as set. Raises InvalidRequestError."""
    width, height = _size(request, offer, image_size)
    filled = {
        "width": width,
        "height": height,
        "seed": secrets.randbelow(2**32) if request.seed is None else request.seed,
    }
    narrowed = _validated(request_class(request.task, offer), request.model_dump() | filled)
    return _validated(TASKS[request.task], narrowed.model_dump())


_building = threading.Lock()


def request_class(task: str, offer: Offer) -> type[Request]:
    """The class of `task` with the fields that the model takes, and defaults and bounds as its
    card sets them. Safe to call from several threads: each class is built once."""
    terms = _Terms.of(task, offer)
    with _building:
        return _built(terms)


@dataclass(frozen=True)
class _Terms:
    """All that a class depends on: offers that agree in it share the class."""

    task: str
    model: str
    takes: frozenset[str]
    limits: Limits
    width: int
    height: int
    steps: int
    guidance: float
    strength: float
    negative_prompt: str
    schedulers: tuple[str, ...]
    scheduler: str
    loras: tuple[str, ...]
    controlnets: tuple[str, ...]
    classes: int

    @classmethod
    def of(cls, task: str, offer: Offer) -> Self:
        return cls(
            task=task,
            model=offer.card.name,
            takes=offer.takes(task),
            limits=offer.card.limits,
            width=offer.width,
            height=offer.height,
            steps=offer.steps,
            guidance=offer.guidance,
            strength=offer.card.defaults.strength,
            negative_prompt=offer.card.defaults.negative_prompt,
            schedulers=offer.schedulers,
            scheduler=offer.scheduler,
            loras=offer.loras,
            controlnets=offer.controlnets,
            classes=offer.classes,
        )


@lru_cache(maxsize=256)
def _built(terms: _Terms) -> type[Request]:
    base = TASKS[terms.task]
    narrowed = _narrowed(terms)
    fields = {}
    for name, field in base.model_fields.items():
        if name not in terms.takes | _SIZE:
            continue
        as_it_is = (field.rebuild_annotation(), ... if field.is_required() else field.default, {})
        kind, default, bounds = narrowed.get(name, as_it_is)
        fields[name] = (kind, Field(default, description=field.description, **bounds))
    few_pixels = _pixel_check(terms.limits.max_pixels)
    return _derived(base, Fields, fields, few_pixels=few_pixels)


def _derived(
    like: type[Fields], base: type[Fields], fields: dict[str, Any], **validators: Any
) -> type[Any]:
    """A class with the name and words of `like`. Its fields bring their descriptions along: to
    look for docstrings would parse source, which CPython 3.11 does not do safely in threads."""
    return create_model(
        like.__name__,
        __base__=base,
        __doc__=like.__doc__,
        __cls_kwargs__={"use_attribute_docstrings": False},
        __validators__=validators,
        **fields,
    )


def _narrowed(terms: _Terms) -> dict[str, tuple[Any, Any, dict[str, Any]]]:
    """Type, default and bounds of each field whose bounds depend on the model."""
    task, limits = terms.task, terms.limits
    chars = {"max_length": limits.max_prompt_chars}
    side = {"ge": limits.min_size, "le": limits.max_size, "multiple_of": limits.size_multiple}
    if task == "upscale":
        width = height = (Annotated[int, Field(ge=1)] | None, None, {})
    elif "width" not in terms.takes:
        width = (Literal[terms.width], terms.width, {})
        height = (Literal[terms.height], terms.height, {})
    elif "image" in terms.takes:
        width = height = (Annotated[int, Field(**side)] | None, None, {})
    else:
        width, height = (int, terms.width, side), (int, terms.height, side)
    prompt = (Text, "", chars) if task == "upscale" else (Text, ..., {"min_length": 1, **chars})
    scheduler = Annotated[Literal[terms.schedulers], BeforeValidator(_class_name)]
    short = [name for each in terms.schedulers for name in schedulers.NAMES.get(each, ())]
    known = [*terms.schedulers, *short]
    return {
        "task": (Literal[task], task, {}),
        "model": (str, terms.model, {}),
        "prompt": prompt,
        "negative_prompt": (Text, terms.negative_prompt, chars),
        "width": width,
        "height": height,
        "num_inference_steps": (int, terms.steps, {"ge": 1, "le": limits.max_steps}),
        "guidance_scale": (float, terms.guidance, {"ge": 0, "le": limits.max_guidance_scale}),
        "scheduler": (scheduler, terms.scheduler, {"json_schema_extra": {"enum": known}}),
        "seed": (Annotated[int, Field(ge=0, le=MAX_SEED)] | None, None, {}),
        "num_images": (int, 1, {"ge": 1, "le": limits.max_images}),
        "strength": (float, terms.strength, {"ge": 0, "le": 1}),
        "class_label": (int, ..., {"ge": 0, "lt": terms.classes}),
        "loras": (_listed(Lora, terms.loras), (), {"strict": False, "max_length": 8}),
        "controls": (_listed(Control, terms.controlnets), (), {"strict": False, "max_length": 4}),
    }


def _listed(kind: type[Fields], names: tuple[str, ...]) -> Any:
    """A list of `kind` whose names are those that the model has."""
    name = (
        Literal[names or ("",)],
        Field(description=kind.model_fields["name"].description),
    )
    return tuple[_derived(kind, kind, {"name": name}), ...]


def _class_name(name: Any) -> Any:
    """A scheduler's diffusers class name, where `name` is a usual short one."""
    known = schedulers.resolve(name) if isinstance(name, str) else None
    return known[0] if known else name


def _plain_scheduler(asked: dict[str, Any]) -> dict[str, Any]:
    """`DPM++ 2M Karras` names a scheduler and its sigmas."""
    name, options = asked.get("scheduler"), asked.get("scheduler_options", {})
    known = schedulers.resolve(name) if isinstance(name, str) else None
    if known and known[1] and isinstance(options, dict):
        return asked | {"scheduler_options": {"sigmas": known[1], **options}}
    return asked


def _pixel_check(max_pixels: int) -> Any:
    def few_pixels(self: Any) -> Any:
        if self.width and self.height and self.width * self.height > max_pixels:
            raise PydanticCustomError(
                "too_many_pixels",
                f"width x height must be at most {max_pixels} pixels for this model",
            )
        return self

    return model_validator(mode="after")(few_pixels)


def _size(request: Request, offer: Offer, image_size: tuple[int, int] | None) -> tuple[int, int]:
    width, height = request.width, request.height
    if request.task == "upscale" and image_size is not None:
        return _upscaled(request, image_size, offer)
    if width is None and height is None and image_size is not None:
        padding = getattr(request, "padding", None)
        if padding is not None:
            image_size = (
                image_size[0] + padding.left + padding.right,
                image_size[1] + padding.top + padding.bottom,
            )
        width, height = _like(image_size, offer)
    return width or offer.width, height or offer.height


def _upscaled(request: Request, image_size: tuple[int, int], offer: Offer) -> tuple[int, int]:
    limits = offer.card.limits
    width, height = image_size[0] * UPSCALE, image_size[1] * UPSCALE
    for name, asked, made in (("width", request.width, width), ("height", request.height, height)):
        if asked not in (None, made):
            detail = f"Is {made}, {UPSCALE} times that of the image; leave it out."
            raise InvalidRequestError([FieldError(pointer(name), detail, "fixed_size")])
    if max(width, height) > limits.max_size or width * height > limits.max_pixels:
        detail = (
            f"Would become {width} x {height}; this model makes at most {limits.max_size} on a "
            f"side and {limits.max_pixels} pixels."
        )
        raise InvalidRequestError([FieldError("/image", detail, "too_many_pixels")])
    return width, height


def _like(image_size: tuple[int, int], offer: Offer) -> tuple[int, int]:
    """The size nearest to the image's shape with the model's usual number of pixels."""
    limits = offer.card.limits
    scale = (offer.width * offer.height / (image_size[0] * image_size[1])) ** 0.5
    step = limits.size_multiple

    def fit(side: int) -> int:
        lowest, highest = -(-limits.min_size // step) * step, limits.max_size // step * step
        return min(max(round(side * scale / step) * step, lowest), highest)

    return fit(image_size[0]), fit(image_size[1])


def _disagreements(request: Request) -> list[FieldError]:
    """Fields that are right one by one and wrong together."""
    errors = []
    able = diffusers_table()["scheduler_options"].get(request.scheduler, ())
    options = request.scheduler_options
    if options.sigmas and options.sigmas not in able:
        detail = f"{request.scheduler} has no {options.sigmas} sigmas."
        errors.append(FieldError("/scheduler_options/sigmas", detail, "unsupported_field"))
    if options.timestep_spacing and "timestep_spacing" not in able:
        detail = f"{request.scheduler} has no timestep_spacing."
        errors.append(
            FieldError("/scheduler_options/timestep_spacing", detail, "unsupported_field")
        )
    for i, control in enumerate(getattr(request, "controls", ())):
        if control.start >= control.end:
            detail = "Must be greater than start."
            errors.append(FieldError(f"/controls/{i}/end", detail, "empty_range"))
    nothing_new = request.task == "inpaint" and not any(request.padding.model_dump().values())
    if nothing_new and request.mask_image is None:
        detail = "This field is required unless padding adds canvas to fill."
        errors.append(FieldError("/mask_image", detail, "missing"))
    return errors


def _warnings(request: Request) -> list[str]:
    if getattr(request, "guidance_scale", 0.0) > SATURATED_GUIDANCE:
        return [
            f"guidance_scale {request.guidance_scale:g} is above {SATURATED_GUIDANCE:g}: "
            "expect saturated colours and artefacts."
        ]
    return []


def _cannot_do(task: Any, offer: Offer, others: Offers) -> FieldError:
    known = " or ".join(offer.tasks) or "nothing yet"
    if not isinstance(task, str) or task not in TASKS:
        detail = f"Must be one of: {', '.join(TASKS)}."
    else:
        able = [each.card.name for each in others() if task in each.tasks]
        detail = f"The model {offer.card.name!r} does {known}, not {task}.{_who_can(able)}"
    return FieldError("/task", detail, "unsupported_task")


def _not_taken(
    asked: Mapping[str, Any], task: str, offer: Offer, others: Offers
) -> Iterator[FieldError]:
    """Fields that this model has no use for, and those of other tasks."""
    known = TASKS[task].model_fields.keys()
    for name in sorted((asked.keys() & known) - offer.takes(task) - _SIZE):
        able = [
            each.card.name for each in others() if task in each.tasks and name in each.takes(task)
        ]
        detail = f"The model {offer.card.name!r} takes no {name} for {task}.{_who_can(able)}"
        yield FieldError(pointer(name), detail, "unsupported_field")
    for name in sorted(asked.keys() - known):
        if able := [each for each, cls in TASKS.items() if name in cls.model_fields]:
            detail = f"{task} takes no {name}; it belongs to {', '.join(able)}."
            yield FieldError(pointer(name), detail, "unsupported_field")


def _who_can(able: list[str]) -> str:
    return f" These do: {', '.join(sorted(able))}." if able else " No model on offer does."


def _at(errors: Iterable[FieldError]) -> set[str]:
    return {error.pointer for error in errors}


def _validated(cls: type[Model], values: Mapping[str, Any]) -> Model:
    errors: list[FieldError] = []
    request = _collect(cls, values, errors)
    if errors:
        raise InvalidRequestError(errors)
    return request


def _collect(cls: type[Model], values: Mapping[str, Any], errors: list[FieldError]) -> Model:
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        errors.extend(field_errors(error))
        return cls.model_construct()
