"""What holds of networks that were distilled to need few steps, and of their noise schedulers; used
by service and worker, knows neither torch nor models."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from darkroom.cards import LoraCard, LoraDefaults
from darkroom.errors import FieldError
from darkroom.offers import Offer
from darkroom.scheduler_table import FEW_STEPS
from darkroom.schedulers import short

DISTILLED = frozenset({"LCMScheduler", "TCDScheduler", "FlowMatchLCMScheduler"})
"""Made for networks that find the end of a path, or a place far along it, in one call."""
CONSISTENT = DISTILLED - {"TCDScheduler"}
"""These take each answer for the finished picture, which others' answers are not: they blur."""

ORIGINAL_STEPS = 50
"""Of the solver that LCM and TCD models were distilled from, unless a request says otherwise; as
diffusers has it."""
_PARTS = frozenset({"LCMScheduler", "TCDScheduler"})
"""Their steps are some of those."""

_SOUNDS_FAST = re.compile(r"turbo|lightning|hyper|lcm|dmd|schnell|[1248][-_]?steps?", re.IGNORECASE)
_SAYS_STEPS = re.compile(r"(?<![\d.])([1-8])[-_]?steps?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Inherited:
    """A body with what its LoRAs bring, and what is to be said of that."""

    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


def inherit(asked: Mapping[str, Any], task: str, offer: Offer) -> Inherited:
    """What the cards of a body's LoRAs say, taken for fields that it leaves out. Of LoRAs that
    disagree the first named counts, and one at scale 0 brings nothing. A scheduler and its options
    come from the same LoRA, else from the card of the model, and not at all where the body names a
    scheduler itself."""
    takes = offer.takes(task) - asked.keys()
    taken: dict[str, tuple[str, Any]] = {}
    warnings: list[str] = []
    for lora in _named(asked, offer):
        wanted = lora.defaults.scheduler
        if "scheduler" in takes and wanted and wanted not in offer.schedulers:
            warnings.append(
                f"The LoRA {lora.name!r} wants the scheduler {short(wanted)}, which the model does "
                "not have."
            )
            continue
        for name, value in _brought(lora.defaults).items():
            if name in takes:
                first, counts = taken.setdefault(name, (lora.name, value))
                if counts != value:
                    warnings.append(
                        f"The LoRAs {first!r} and {lora.name!r} want different things for {name}: "
                        f"{first!r}, which is named first, has its way."
                    )
    body = {name: value for name, (_, value) in taken.items()}
    usual = offer.card.scheduler_options.model_dump(exclude_none=True)
    wanted, options = body.pop("scheduler", (None, usual if "scheduler" in takes else {}))
    given = asked.get("scheduler_options", {})
    if options and isinstance(given, Mapping):
        said = {name: value for name, value in given.items() if value is not None}
        body["scheduler_options"] = {**options, **said}
    if wanted:
        body["scheduler"] = wanted
    return Inherited({**asked, **body}, tuple(warnings))


def _named(asked: Mapping[str, Any], offer: Offer) -> Iterator[LoraCard]:
    """The LoRAs that a body, which nobody has checked yet, asks to work."""
    cards = {card.name: card for card in offer.card.loras}
    given = asked.get("loras")
    for each in given if isinstance(given, list | tuple) else ():
        if isinstance(each, Mapping) and each.get("scale", 1.0) != 0:
            name = each.get("name")
            if isinstance(name, str) and name in cards:
                yield cards[name]


def _brought(defaults: LoraDefaults) -> dict[str, Any]:
    values: dict[str, Any] = {
        "num_inference_steps": defaults.num_inference_steps,
        "guidance_scale": defaults.guidance_scale,
    }
    options = defaults.scheduler_options.model_dump(exclude_none=True)
    if defaults.scheduler or options:
        values["scheduler"] = (defaults.scheduler, options)
    return {name: value for name, value in values.items() if value is not None}


def refusals(values: Mapping[str, Any]) -> Iterator[FieldError]:
    """Of more steps than there are to choose from."""
    scheduler, steps = values.get("scheduler"), values.get("num_inference_steps")
    options = values.get("scheduler_options") or {}
    original = options.get("original_inference_steps") or ORIGINAL_STEPS
    if scheduler in _PARTS and steps and steps > original:
        detail = (
            f"{short(scheduler)} makes at most {original} steps, those of "
            "scheduler_options.original_inference_steps; 1 to 8 are usual."
        )
        yield FieldError("/num_inference_steps", detail, "out_of_range")


def may_need_few(name: str) -> bool:
    """Whether the name of a model or file sounds as if it was distilled."""
    return bool(_SOUNDS_FAST.search(name))


def steps_said(name: str) -> int | None:
    """For how few steps a model or LoRA is, where its name says it: 4 of `sdxl_lightning_4step`."""
    found = _SAYS_STEPS.search(name)
    return int(found[1]) if found else None


def warnings(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """Of what only suits networks that were distilled, where another is asked, and the reverse."""
    yield from _of_scheduler(values, offer)
    yield from _of_model(values, offer)
    yield from _of_loras(values, offer)


def _of_scheduler(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """Of a model that is not known to be made for the scheduler that was asked for: by its own
    scheduler, by the few steps that its card asks for, or by a LoRA."""
    scheduler = values.get("scheduler")
    is_for_few = offer.scheduler in DISTILLED or (offer.steps or FEW_STEPS + 1) <= FEW_STEPS
    if scheduler not in DISTILLED or is_for_few or values.get("loras"):
        return
    then = "pictures are blurred" if scheduler in CONSISTENT else "it is DDIM that draws noise"
    yield (
        f"{short(scheduler)} is for models, or LoRAs, that were distilled for it: "
        f"with others {then}."
    )


def _of_model(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """Of few steps without guidance, where the card asks for many with it. Nothing where the card
    leaves one of the two to the pipeline's class, which distilled models share with others, or
    where a name says that it may have been distilled."""
    card = offer.card
    usual, strong = card.defaults.num_inference_steps or 0, card.defaults.guidance_scale or 0.0
    if usual <= FEW_STEPS or strong <= 1.0:
        return
    if may_need_few(f"{card.name} {card.source} {card.transformer or ''}"):
        return
    steps, guidance = values.get("num_inference_steps"), values.get("guidance_scale")
    is_fast = steps and steps <= FEW_STEPS and guidance is not None and guidance <= 1.0
    if is_fast and not any(lora["scale"] for lora in values.get("loras") or ()):
        yield (
            f"num_inference_steps {steps} with guidance_scale {guidance:g} is for models, or "
            f"LoRAs, that were distilled for it: the card of {card.name!r} asks for {usual} "
            f"and {strong:g}."
        )


def _of_loras(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """Of many steps with a LoRA whose name says for how few it is, and whose card says nothing."""
    steps = values.get("num_inference_steps") or 0
    for lora in _named(values, offer):
        says = steps_said(lora.name)
        if says and steps > FEW_STEPS and lora.defaults.num_inference_steps is None:
            yield (
                f"The LoRA {lora.name!r} is for {says} steps by its name, not {steps}; its card "
                "has no `defaults`: name scheduler, steps and guidance_scale in the request."
            )
