"""What holds of networks that were distilled to need few steps, and of their noise schedulers; used
by service and worker, knows neither torch nor models."""

from collections.abc import Iterator, Mapping
from typing import Any

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
