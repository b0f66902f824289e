"""What is said of schedulers for networks that were distilled."""

from typing import Any

import pytest

from darkroom.offers import Offer
from darkroom.validation import parse
from tests.offers import CAT, offered, wrong

DISTILLED = ("DDIMScheduler", "EulerDiscreteScheduler", "LCMScheduler", "TCDScheduler")
PLAIN = offered("StableDiffusionPipeline", ("text-to-image",), DISTILLED, loras=("ink",))
OWN = offered("StableDiffusionPipeline", ("text-to-image",), DISTILLED, scheduler="LCMScheduler")


def told(terms: Offer = PLAIN, **fields: Any) -> tuple[str, ...]:
    return parse(CAT | {"num_inference_steps": 4} | fields, terms).warnings


@pytest.mark.parametrize("scheduler", ["LCM", "TCD"])
def test_more_steps_than_were_distilled_are_refused(scheduler: str) -> None:
    asked = CAT | {"scheduler": scheduler, "num_inference_steps": 51}
    assert wrong(asked, PLAIN) == {
        "/num_inference_steps": f"{scheduler} makes at most 50 steps, those of "
        "scheduler_options.original_inference_steps; 1 to 8 are usual."
    }
    assert told(**asked | {"scheduler_options": {"original_inference_steps": 100}}) is not None
    few = asked | {"scheduler_options": {"original_inference_steps": 4}, "num_inference_steps": 5}
    assert "at most 4 steps" in wrong(few, PLAIN)["/num_inference_steps"]
    assert parse(asked | {"scheduler": "DDIM"}, PLAIN).warnings == ()


def test_lcm_on_a_model_that_may_not_be_made_for_it_is_told() -> None:
    assert told(scheduler="LCM") == (
        "LCM is for models, or LoRAs, that were distilled for it: with others pictures are "
        "blurred.",
    )
    assert told(scheduler="LCM", loras=[{"name": "ink"}]) == ()
    assert told(scheduler="TCD") == (), "without noise it is DDIM"
    assert told(OWN, scheduler="LCM") == told(OWN) == ()


@pytest.mark.parametrize(
    ("scheduler", "options", "detail"),
    [
        ("LCM", {"timestep_spacing": "trailing"}, "LCMScheduler has no timestep_spacing."),
        ("LCM", {"eta": 0.5}, "LCMScheduler has no eta."),
        ("Euler", {"eta": 0.5}, "EulerDiscreteScheduler has no eta."),
        ("DDIM", {"original_inference_steps": 4}, "DDIMScheduler has no original_inference_steps."),
        ("TCD", {"sigmas": "karras"}, "TCDScheduler has no karras sigmas."),
    ],
)
def test_options_of_other_schedulers_are_refused(
    scheduler: str, options: dict[str, Any], detail: str
) -> None:
    [name] = options
    asked = CAT | {"scheduler": scheduler, "scheduler_options": options}
    assert wrong(asked, PLAIN) == {f"/scheduler_options/{name}": detail}
