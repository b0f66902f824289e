"""What is said of schedulers for networks that were distilled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.cards import LoraCard
from darkroom.catalog import Catalog, ModelCard
from darkroom.offers import Offer, offer
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


# --- What LoRAs bring

LCM = LoraCard(
    name="lcm",
    source="x",
    defaults={"scheduler": "lcm", "num_inference_steps": 4, "guidance_scale": 1.5},
)
LIGHTNING = LoraCard(
    name="lightning",
    source="x",
    defaults={
        "scheduler": "Euler",
        "scheduler_options": {"timestep_spacing": "trailing", "sigmas": "karras"},
        "num_inference_steps": 8,
        "guidance_scale": 0,
    },
)
INK = LoraCard(name="ink", source="x")


def with_loras(*loras: LoraCard, **more: Any) -> Offer:
    terms = offered(
        "StableDiffusionPipeline",
        ("text-to-image",),
        DISTILLED,
        loras=tuple(each.name for each in loras),
        **more,
    )
    return replace(terms, card=terms.card.model_copy(update={"loras": loras}))


FAST = with_loras(LCM, LIGHTNING, INK)
FIELDS = ("scheduler", "num_inference_steps", "guidance_scale")


def resolved(*names: str, terms: Offer = FAST, **fields: Any) -> dict[str, Any]:
    asked = CAT | {"loras": [{"name": name} for name in names]} | fields
    draft = parse(asked, terms)
    again = parse(dict(draft.values), terms)
    assert again.values == draft.values, "posted back it is the same"
    assert again.warnings == ()
    return dict(draft.values)


def test_a_request_that_names_a_lora_takes_what_it_wants() -> None:
    values = resolved("lcm")
    assert [values[name] for name in FIELDS] == ["LCMScheduler", 4, 1.5]
    values = resolved("lightning")
    assert [values[name] for name in FIELDS] == ["EulerDiscreteScheduler", 8, 0.0]
    assert values["scheduler_options"]["timestep_spacing"] == "trailing"
    assert [resolved("ink")[name] for name in FIELDS] == ["DDIMScheduler", FAST.steps, 7.5]


def test_so_does_one_that_names_it_in_its_prompt() -> None:
    draft = parse({"prompt": "a cat <lora:LCM:0.8>"}, FAST)
    assert [draft.values[name] for name in FIELDS] == ["LCMScheduler", 4, 1.5]
    assert draft.values["prompt"] == "a cat"


def test_what_the_request_says_itself_counts() -> None:
    values = resolved("lcm", num_inference_steps=7)
    assert [values[name] for name in FIELDS] == ["LCMScheduler", 7, 1.5]
    values = resolved("lightning", scheduler="DDIM")
    assert [values[name] for name in FIELDS] == ["DDIMScheduler", 8, 0.0]
    assert values["scheduler_options"]["timestep_spacing"] is None, "it was meant for Euler"
    values = resolved("lightning", scheduler_options={"sigmas": "beta", "eta": None})
    options = values["scheduler_options"]
    assert (options["sigmas"], options["timestep_spacing"]) == ("beta", "trailing")


def test_a_lora_that_is_off_brings_nothing() -> None:
    values = resolved(loras=[{"name": "lcm", "scale": 0}, {"name": "ink"}])
    assert [values[name] for name in FIELDS] == ["DDIMScheduler", FAST.steps, 7.5]


def test_of_two_that_disagree_the_first_named_counts_and_that_is_told() -> None:
    draft = parse(CAT | {"loras": [{"name": each} for each in ("ink", "lcm", "lightning")]}, FAST)
    assert [draft.values[name] for name in FIELDS] == ["LCMScheduler", 4, 1.5]
    assert draft.values["scheduler_options"]["timestep_spacing"] is None
    assert sorted(draft.warnings) == [
        f"The LoRAs 'lcm' and 'lightning' want different things for {name}: 'lcm', which is named "
        "first, has its way."
        for name in sorted(FIELDS)
    ]
    twice = CAT | {"loras": [{"name": "lcm"}, {"name": "lcm"}], "scheduler": "DDIM"}
    assert parse(twice, FAST).warnings == ()


def test_a_scheduler_that_the_model_does_not_have_is_told() -> None:
    flow = replace(FAST, schedulers=("FlowMatchEulerDiscreteScheduler",), scheduler=None)
    draft = parse(CAT | {"loras": [{"name": "lcm"}]}, flow)
    assert draft.values["num_inference_steps"] == FAST.steps
    assert draft.warnings == (
        "The LoRA 'lcm' wants the scheduler LCM, which the model does not have.",
    )


@pytest.mark.parametrize("loras", [5, "lcm", [5], [{"name": 5}], [{"scale": 1}], {"name": "lcm"}])
def test_what_is_no_list_of_loras_is_refused_as_ever(loras: Any) -> None:
    assert all(place.startswith("/loras") for place in wrong(CAT | {"loras": loras}, FAST))


def test_a_model_that_nobody_has_loaded_takes_what_its_loras_want() -> None:
    card = ModelCard(name="new", source="owner/new", loras=(LCM,))
    terms = offer(Catalog([card], "new", Path("/nowhere")), card, None)
    draft = parse(CAT | {"loras": [{"name": "lcm"}]}, terms)
    assert [draft.values[name] for name in FIELDS] == ["LCMScheduler", 4, 1.5]
