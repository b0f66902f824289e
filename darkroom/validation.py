"""From a client's body to a checked request; used by service and worker, knows neither HTTP nor
torch.

`parse` checks a body against what a model offers: a draft. `filled_in` adds what is known when the
job is submitted, `completed` all that is still lacking once a worker has the model: a request.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from darkroom import few_steps, hires, named_loras, prompts, scheduler_table, schedulers
from darkroom.cards import StyleCard
from darkroom.current_adapters import reasons_for
from darkroom.draft import Draft
from darkroom.errors import FieldError, InvalidRequestError, UnsupportedError
from darkroom.families import diffusers_table
from darkroom.field_errors import field_errors, pointer
from darkroom.forms import form
from darkroom.job_options import JobOptions
from darkroom.offers import Offer
from darkroom.request import MAX_SEED, Request, needs
from darkroom.sizes import MaybeSides, Sides, size_of
from darkroom.styles import apply
from darkroom.tasks import FIELDS, LISTS, TASKS, meant

Model = TypeVar("Model", bound=BaseModel)
Offers = Callable[[], Iterable[Offer]]

SATURATED_GUIDANCE = 15.0

_SIZE = {"width", "height"}


def no_others() -> Iterable[Offer]:
    return ()


def parse(
    body: Mapping[str, Any],
    offer: Offer,
    others: Offers = no_others,
    *,
    tags: bool = True,
    styles: Sequence[StyleCard] = (),
) -> Draft:
    """Check a client's `body` against what a model offers and fill in what it left out, but for
    the seed, the size where it follows an input picture, and what is not known of the model yet.

    `others` are all offers, asked for only to say which models can what this one cannot; without
    `tags` a `<lora:...>` in a prompt is words; `styles` are those that the body may name. Raises
    InvalidRequestError with one entry per wrong field."""
    said = {k: v for k, v in body.items() if not _says_nothing(k, v)}
    given = {k: v for k, v in said.items() if k in JobOptions.model_fields}
    asked = {k: v for k, v in said.items() if k not in given}
    task = asked.get("task", meant(said, offer.tasks))
    if task not in offer.tasks:
        raise InvalidRequestError([_cannot_do(task, offer, others)])
    asked |= {"task": task, "model": offer.card.name}
    not_taken = {error.pointer: error for error in _not_taken(asked, task, offer, others)}
    asked = {k: v for k, v in asked.items() if pointer(k) not in not_taken}
    styled = apply(_plain_scheduler(asked), given.get("style"), styles, task, offer)
    plain = prompts.prepare(styled.body, task, offer, tags)
    inherited = few_steps.inherit(plain.body, task, offer)
    filled, wrong = _check(form(task, offer), inherited.body)
    options, wrong_options = _check(JobOptions, given)
    better = [*plain.errors, *offer.wrong_loras(inherited.body)]
    told = {error.pointer for error in better}
    wrong = [error for error in wrong if error.pointer not in told]
    errors = [*not_taken.values(), *styled.errors, *better, *wrong, *wrong_options]
    if filled is None or options is None or errors:
        raise InvalidRequestError(errors)
    values = filled.model_dump(mode="json")
    if errors := list(_disagreements(values, offer)):
        raise InvalidRequestError(errors)
    warnings = (
        *styled.warnings,
        *plain.warnings,
        *inherited.warnings,
        *prompts.warnings(values, offer),
        *warnings_about(values, offer),
    )
    if not offer.is_known:
        values |= dict.fromkeys(_depending_on_the_model(task) - filled.model_fields_set)
    return Draft(task, values, options, warnings)


def _says_nothing(name: str, value: Any) -> bool:
    """Programs with a fixed set of fields send null or an empty list for what they do not use."""
    return (value is None and name in FIELDS) or (value == [] and name in LISTS)


def _depending_on_the_model(task: str) -> set[str]:
    """The fields that not every model takes for the task, or whose default depends on it."""
    asked = needs(TASKS[task].request)
    return {name for name, need in asked.items() if need is not None} | {"num_inference_steps"}


def filled_in(draft: Draft, offer: Offer, image_size: Sides | None) -> Draft | Request:
    """The draft with a seed drawn and with all else that is known now; a request if nothing is
    lacking any more. `image_size` is that of the picture that it begins with.

    Raises InvalidRequestError."""
    draft = replace(draft, values=_with_seed(draft.values))
    width, height = _size_of(draft, offer, image_size)
    if offer.is_known and offer.scheduler and width and height:
        return completed(draft, offer, image_size)
    return replace(draft, values={**draft.values, "width": width, "height": height})


def completed(draft: Draft, offer: Offer, image_size: Sides | None) -> Request:
    """The request of `draft`: what it lacks filled in by a model that is known.

    Raises InvalidRequestError, and UnsupportedError for a task that the model does not do."""
    if draft.task not in offer.tasks:
        raise UnsupportedError(_cannot_do(draft.task, offer, no_others).detail)
    # A draft may come from the queue, so it is checked like a body before anything is made of it.
    values = _with_seed(_given(draft, offer))
    if errors := list(_not_taken(values, draft.task, offer, no_others)):
        raise InvalidRequestError(errors)
    if errors := list(offer.wrong_loras(values)):  # what was there may be gone since
        raise InvalidRequestError(errors)
    narrow = form(draft.task, offer)
    known = _valid_or_raise(narrow, values).model_dump()
    width, height = _size_of(replace(draft, values=known), offer, image_size)
    whole = _valid_or_raise(narrow, known | {"width": width, "height": height})
    if errors := list(_disagreements(whole.model_dump(mode="json"), offer)):
        raise InvalidRequestError(errors)
    return _valid_or_raise(TASKS[draft.task].request, whole.model_dump())


def _size_of(draft: Draft, offer: Offer, image_size: Sides | None) -> MaybeSides:
    return size_of(draft.task, draft.values, offer, image_size)


def drawn_seed() -> int:
    """A seed for who asks for none."""
    return secrets.randbelow(2**32)


def _with_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    """With a seed drawn, where there is none."""
    if values.get("seed") is not None:
        return dict(values)
    return {**values, "seed": drawn_seed()}


def _given(draft: Draft, offer: Offer) -> dict[str, Any]:
    """What is not null, which is filled in like what is left out; without what the model does not
    take, where it changes nothing anyhow."""
    takes = offer.takes(draft.task) | _SIZE
    fields = TASKS[draft.task].request.model_fields
    unset = {name: field.default for name, field in fields.items() if name not in takes}
    usual = {name: [] if default == () else default for name, default in unset.items()}
    return {
        name: value
        for name, value in draft.values.items()
        if value is not None and not (name in usual and value == usual[name])
    }


def _valid_or_raise(cls: type[Model], values: Mapping[str, Any]) -> Model:
    checked, errors = _check(cls, values)
    if checked is None:
        raise InvalidRequestError(errors)
    return checked


def _check(cls: type[Model], values: Mapping[str, Any]) -> tuple[Model | None, list[FieldError]]:
    """The values as `cls` has them, or what is wrong with them."""
    try:
        return cls.model_validate(values), []
    except ValidationError as error:
        return None, field_errors(error, cls, {*JobOptions.model_fields, *FIELDS})


def _plain_scheduler(asked: dict[str, Any]) -> dict[str, Any]:
    """`DPM++ 2M Karras` names a scheduler and its sigmas."""
    name, options = asked.get("scheduler"), asked.get("scheduler_options", {})
    known = schedulers.resolve(name) if isinstance(name, str) else None
    if known and known[1] and isinstance(options, dict):
        return asked | {"scheduler_options": {"sigmas": known[1], **options}}
    return asked


def _disagreements(values: Mapping[str, Any], offer: Offer) -> Iterator[FieldError]:
    """Fields that are right one by one and wrong together. A scheduler that is not known yet is
    not judged."""
    scheduler, options = values["scheduler"], values["scheduler_options"]
    able = diffusers_table()["scheduler_options"].get(scheduler, ())
    for name, value in options.items() if scheduler else ():
        is_lacking = (value if name == "sigmas" else name) not in able
        if value is not None and (is_lacking or _is_without(name, offer)):
            lacking = f"{value} sigmas" if name == "sigmas" else name
            detail = f"{scheduler} has no {lacking}."
            yield FieldError(pointer("scheduler_options", name), detail, "unsupported_field")
    yield from scheduler_table.refusals(values, offer)
    yield from few_steps.refusals(values)
    yield from hires.refusals(values, offer.limits, resumes_latents=offer.resumes_latents)
    for i, each in enumerate(values.get("controls", ())):
        if each["start"] >= each["end"]:
            yield FieldError(f"/controls/{i}/end", "Must be greater than start.", "empty_range")
    strength = (hires.second_part(values) or values).get("strength") or 1.0
    if scheduler == "FlowMatchHeunDiscreteScheduler" and strength < 1.0:
        detail = "Flow match Heun begins with noise alone, at strength 1; take Flow match Euler."
        yield FieldError("/scheduler", detail, "unsupported_field")
    if offer.layers and values["output"]["format"] == "jpeg":
        detail = "A jpeg holds no transparency, as this model's layers have it: png or webp."
        yield FieldError("/output/format", detail, "unsupported_field")
    if offer.layers and values.get("mask_image"):
        detail = "This model takes pictures apart into layers, and changes no part of one."
        yield FieldError("/mask_image", detail, "unsupported_field")
    seed, last = values["seed"], values["num_images"] - 1
    if seed is not None and seed + last > MAX_SEED:
        detail = (
            f"Picture {last + 1} would take the seed {seed} + {last}; {MAX_SEED} is the largest."
        )
        yield FieldError("/seed", detail, "out_of_range")
    if values.get("padding_mask_crop") is not None and any(values["padding"].values()):
        detail = "Goes with no padding: what lies beyond the picture is no part of it."
        yield FieldError("/padding_mask_crop", detail, "unsupported_field")
    if "padding" in values and not values["mask_image"] and not any(values["padding"].values()):
        detail = "This field is required unless padding adds canvas to fill."
        yield FieldError("/mask_image", detail, "missing")


def _is_without(option: str, offer: Offer) -> bool:
    """The timesteps of a rectified flow follow from its sigmas."""
    return option == "timestep_spacing" and not offer.is_diffusion and offer.is_known


def warnings_about(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """What is to be said of a request that can be done."""
    yield from scheduler_table.warnings(values, offer)
    if second := hires.second_part(values):
        yield from (f"hires: {each}" for each in scheduler_table.warnings(second, offer))
    yield from few_steps.warnings(values, offer)
    yield from named_loras.added_up(values)
    guidance = values.get("guidance_scale") or 0.0
    if guidance > SATURATED_GUIDANCE:
        yield (
            f"guidance_scale {guidance:g} is above {SATURATED_GUIDANCE:g}: "
            "expect saturated colours and artefacts."
        )


def _cannot_do(task: Any, offer: Offer, others: Offers) -> FieldError:
    known = " or ".join(offer.tasks) or "nothing yet"
    if not isinstance(task, str) or task not in TASKS:
        detail = f"Must be one of: {', '.join(TASKS)}."
    else:
        who = _who_can(others, lambda each: task in each.tasks)
        detail = f"The model {offer.card.name!r} does {known}, not {task}.{who}"
        if offer.refused:
            detail = f"The model {offer.card.name!r} cannot be used: {offer.refused}."
        if "edit" in offer.tasks and task in ("image-to-image", "inpaint"):
            detail += " It edits pictures that stand in `images`, a list."
    return FieldError("/task", detail, "unsupported_task")


def _not_taken(
    asked: Mapping[str, Any], task: str, offer: Offer, others: Offers
) -> Iterator[FieldError]:
    """Fields that this model has no use for, and those of other tasks."""
    known = TASKS[task].request.model_fields.keys()
    for name in sorted((asked.keys() & known) - offer.takes(task) - _SIZE):
        who = _who_can(others, partial(_takes, task, name))
        detail = f"The model {offer.card.name!r} takes no {name} for {task}.{who}"
        reasons = " ".join(reasons_for(name, offer.faults))
        if name == "loras" and offer.takes_loras and not offer.loras:
            lacking = f"No LoRA of the model {offer.card.name!r} can be used. {reasons}"
            detail = lacking if reasons else f"The model {offer.card.name!r} has no LoRAs.{who}"
        elif reasons:
            detail += f" What it has for them cannot be used. {reasons}"
        yield FieldError(pointer(name), detail, "unsupported_field")
    for name in sorted(asked.keys() - known):
        if able := [each for each, row in TASKS.items() if name in row.request.model_fields]:
            detail = f"{task} takes no {name}; it belongs to {', '.join(able)}."
            yield FieldError(pointer(name), detail, "unsupported_field")


def _takes(task: str, name: str, offer: Offer) -> bool:
    return task in offer.tasks and name in offer.takes(task)


def _who_can(others: Offers, can: Callable[[Offer], bool]) -> str:
    """Which models can, of those that are known; nothing if nobody was asked."""
    asked = list(others())
    usable = [each for each in asked if each.is_known and not each.error]
    able = sorted(each.card.name for each in usable if can(each))
    if not asked:
        return ""
    return f" These do: {', '.join(able)}." if able else " No model on offer does."
