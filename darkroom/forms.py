"""The form of a task: the shape of a body on one model; used by service and worker, knows neither
HTTP nor torch.

What may be left out, and the bounds of each number, depend on the model: a form is a task's request
class narrowed by a model's offer. Its JSON Schema is the one that `GET /api/v1/models/{id}` shows
and the one that the check uses.
"""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, create_model, model_validator
from pydantic_core import PydanticCustomError

from darkroom import schedulers
from darkroom.cards import Limits
from darkroom.fields import Fields, at_most
from darkroom.offers import Offer
from darkroom.request import MAX_CONTROLS, MAX_LORAS, MAX_SEED
from darkroom.request_parts import Control, Lora
from darkroom.tasks import LEADERS, TASKS, Size
from darkroom.text import Text

_SIZE = {"width", "height"}

_Field = tuple[Any, Any, dict[str, Any]]
"""A field's type, default and bounds."""

_building = threading.Lock()


def form(task: str, offer: Offer) -> type[Fields]:
    """The request class of `task` with the fields that the model takes, and defaults and bounds as
    its card sets them. Safe to call from several threads: each form is built once."""
    terms = _Terms.of(task, offer)
    with _building:
        return _build(terms)


@dataclass(frozen=True)
class _Terms:
    """All that a form depends on: offers that agree in it share the form."""

    task: str
    model: str
    takes: frozenset[str]
    limits: Limits
    width: int | None
    height: int | None
    steps: int | None
    guidance: float | None
    strength: float
    negative_prompt: str
    schedulers: tuple[str, ...]
    scheduler: str | None
    loras: tuple[str, ...]
    controlnets: tuple[str, ...]
    classes: int | None
    edited: int

    @classmethod
    def of(cls, task: str, offer: Offer) -> Self:
        return cls(
            task=task,
            model=offer.card.name,
            takes=offer.takes(task),
            limits=offer.limits,
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
            edited=offer.edited,
        )


@lru_cache(maxsize=256)
def _build(terms: _Terms) -> type[Fields]:
    base = TASKS[terms.task].request
    narrowed = _model_fields(terms)
    fields = {}
    for name, field in base.model_fields.items():
        if name not in terms.takes | _SIZE:
            continue
        as_it_is: _Field = (
            field.rebuild_annotation(),
            ... if field.is_required() else field.default,
            {},
        )
        kind, default, bounds = narrowed.get(name, as_it_is)
        fields[name] = (kind, Field(default, description=field.description, **bounds))
    few_pixels = _pixel_check(terms.limits.max_pixels)
    return _derive(base, Fields, fields, few_pixels=few_pixels)


def _derive(
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


def _model_fields(terms: _Terms) -> dict[str, _Field]:
    """Type, default and bounds of each field whose bounds depend on the model."""
    limits = terms.limits
    chars = {"max_length": limits.max_prompt_chars}
    guidance = {"ge": 0, "le": limits.max_guidance_scale}
    width, height = _sides(terms)
    scheduler: Any = _annotate(str, AfterValidator(_class_name_of(terms.schedulers)))
    short = [name for each in terms.schedulers for name in schedulers.NAMES.get(each, ())]
    known = [*terms.schedulers, *short]
    names = {each: schedulers.short(each) for each in terms.schedulers}
    enum = {"enum": known, "x-names": names}
    classes = {} if terms.classes is None else {"lt": terms.classes}
    return {
        "task": (_one_of(terms.task), terms.task, {}),
        "model": (str, terms.model, {}),
        "prompt": _prompt(terms, chars),
        "negative_prompt": (Text, terms.negative_prompt, chars),
        "width": width,
        "height": height,
        "num_inference_steps": _number(int, terms.steps, {"ge": 1, "le": limits.max_steps}),
        "guidance_scale": _number(float, terms.guidance, guidance),
        "scheduler": _or_open(scheduler, terms.scheduler, {"json_schema_extra": enum}),
        "seed": (
            Annotated[int, Field(ge=-1, le=MAX_SEED), AfterValidator(_drawn)] | None,
            None,
            {},
        ),
        "num_images": (int, 1, {"ge": 1, "le": limits.max_images}),
        "strength": (float, terms.strength, {"ge": 0, "le": 1}),
        "class_label": (int, ..., {"ge": 0, **classes}),
        "images": _pictures(terms),
        "loras": _list_of(Lora, terms.loras, MAX_LORAS),
        "controls": _list_of(Control, terms.controlnets, MAX_CONTROLS),
    }


def _sides(terms: _Terms) -> tuple[_Field, _Field]:
    """Width and height; what follows from a picture can be left out and has no default."""
    limits, size = terms.limits, TASKS[terms.task].size
    side: dict[str, Any] = {
        "ge": limits.min_size,
        "le": limits.max_size,
        "multiple_of": limits.size_multiple,
    }
    if size is Size.TIMES_FOUR:
        free: _Field = (Annotated[int, Field(ge=1)] | None, None, {})
        return free, free
    sides = terms.width, terms.height
    if size is Size.MODELS or "width" not in terms.takes:
        width, height = (_or_open(_one_of(each) if each else int, each, {}) for each in sides)
        return width, height
    if size in (Size.OF_IMAGE, Size.AS_IMAGE):
        free = (Annotated[int, Field(**side)] | None, None, {})
        return free, free
    width, height = (_or_open(Annotated[int, Field(**side)], each, {}) for each in sides)
    return width, height


def _number(kind: Any, default: float | None, bounds: dict[str, Any]) -> _Field:
    """A number within bounds."""
    if default is not None:
        return kind, default, bounds
    return _or_open(_annotate(kind, Field(**bounds)), None, {})


def _or_open(kind: Any, default: Any, bounds: dict[str, Any]) -> _Field:
    """A field with this default; with none, to be filled in later, while it is not known."""
    if default is not None:
        return kind, default, bounds
    schema = bounds.get("json_schema_extra", {})
    inner = _annotate(kind, Field(json_schema_extra=schema)) if schema else kind
    return inner | None, None, {"json_schema_extra": _without_default}


def _without_default(schema: dict[str, Any]) -> None:
    """Null is no value that the model takes by default."""
    del schema["default"]


def _prompt(terms: _Terms, chars: dict[str, int]) -> _Field:
    """May be left out where something else can lead."""
    row = TASKS[terms.task]
    field = row.request.model_fields.get("prompt")
    if field is None or not field.is_required() or terms.takes.intersection(LEADERS):
        return (Text, "", chars)
    return (Text, ..., chars if row.stands_for_others else {"min_length": 1, **chars})


def _pictures(terms: _Terms) -> _Field:
    """As many as the model can work from."""
    most = at_most(terms.edited, f" for the model {terms.model!r}")
    bounds = {"strict": False, "min_length": 1, "max_length": terms.edited}
    return _annotate(tuple[str, ...], most), ..., bounds


def _drawn(seed: int) -> int | None:
    """Other programs write -1 where a seed is to be drawn."""
    return None if seed == -1 else seed


def _list_of(kind: type[Fields], names: tuple[str, ...], most: int) -> _Field:
    """A list of at most so many `kind` whose names are those that the model has."""
    name = (
        _one_of(*names or ("",)),
        Field(description=kind.model_fields["name"].description),
    )
    listed: Any = tuple
    entries = _annotate(listed[_derive(kind, kind, {"name": name}), ...], at_most(most))
    return entries, (), {"strict": False, "max_length": most}


def _one_of(*values: str | int) -> Any:
    """The type of just these values. Type checkers read no types that are made at run time, hence
    the plain names here and nearby."""
    literal: Any = Literal
    return literal[values]


def _annotate(kind: Any, *more: Any) -> Any:
    annotated: Any = Annotated
    return annotated[kind, *more]


def _class_name_of(classes: Collection[str]) -> Callable[[str], str]:
    """Makes the diffusers class name of a scheduler's class or short name, if it is one of these
    classes."""

    def class_name(name: str) -> str:
        known = schedulers.resolve(name)
        found = known[0] if known else name
        if found in classes:
            return found
        there_are = ", ".join(map(schedulers.short, classes))
        guess = schedulers.near(name, classes)
        hint = f" Did you mean {guess}?" if guess else ""
        raise PydanticCustomError(
            "not_one_of", f"This model has no scheduler of that name.{hint} It has: {there_are}."
        )

    return class_name


def _pixel_check(max_pixels: int) -> Any:
    def few_pixels(self: Any) -> Any:
        if self.width and self.height and self.width * self.height > max_pixels:
            raise PydanticCustomError(
                "too_many_pixels",
                f"width x height must be at most {max_pixels} pixels for this model.",
            )
        return self

    return model_validator(mode="after")(few_pixels)
