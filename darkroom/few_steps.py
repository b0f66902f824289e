"""What holds of networks that were distilled to need few steps, and of their noise schedulers; used
by service and worker, knows neither torch nor models."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from darkroom.cards import LoraCard, LoraDefaults
from darkroom.errors import FieldError
from darkroom.offers import Offer
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


@dataclass(frozen=True)
class Inherited:
    """A body with what its LoRAs bring, and what is to be said of that."""

    body: dict[str, Any]
    warnings: tuple[str, ...] = ()


def inherit(asked: Mapping[str, Any], task: str, offer: Offer) -> Inherited:
    """What the cards of a body's LoRAs say, taken for fields that it leaves out. Of LoRAs that
    disagree the first named counts, and one at scale 0 brings nothing. A scheduler and its options
    come from the same LoRA, and not at all where the body names a scheduler itself."""
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
    wanted, options = body.pop("scheduler", (None, {}))
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


def warnings(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """Of a model that is not known to be made for the scheduler that was asked for."""
    scheduler = values.get("scheduler")
    if scheduler not in CONSISTENT or offer.scheduler in DISTILLED or values.get("loras"):
        return
    yield (
        f"{short(scheduler)} is for models, or LoRAs, that were distilled for it: "
        "with others pictures are blurred."
    )
