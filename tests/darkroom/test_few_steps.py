"""What is said of schedulers for networks that were distilled."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from darkroom.cards import Defaults, LoraCard
from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
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


def test_lcm_or_tcd_on_a_model_that_may_not_be_made_for_it_is_told() -> None:
    assert told(scheduler="LCM") == (
        "LCM is for models, or LoRAs, that were distilled for it: with others pictures are "
        "blurred.",
    )
    assert told(scheduler="LCM", loras=[{"name": "ink"}]) == ()
    assert told(scheduler="TCD") == (
        "TCD is for models, or LoRAs, that were distilled for it: with others it is DDIM that "
        "draws noise.",
    )
    assert told(scheduler="TCD", loras=[{"name": "ink"}]) == ()
    few = replace(PLAIN, steps=4)
    assert told(few, scheduler="TCD") == told(few, scheduler="LCM") == told(OWN, scheduler="TCD")
    assert told(few, scheduler="TCD") == ()
    assert told(OWN, scheduler="LCM") == told(OWN) == ()


def saying(terms: Offer = PLAIN, *, steps: int = 25, guidance: float = 7.5, **card: Any) -> Offer:
    defaults = Defaults(num_inference_steps=steps, guidance_scale=guidance)
    changed = terms.card.model_copy(update={"defaults": defaults, **card})
    return replace(terms, card=changed, steps=steps, guidance=guidance)


def test_settings_of_a_distilled_model_on_one_that_its_card_says_is_none_are_told() -> None:
    plain, fast = saying(), {"num_inference_steps": 4, "guidance_scale": 0}
    assert told(plain, **fast) == (
        "num_inference_steps 4 with guidance_scale 0 is for models, or LoRAs, that were distilled "
        "for it: the card of 'stablediffusionpipeline' asks for 25 and 7.5.",
    )
    assert told(plain, **fast | {"guidance_scale": 1.5}) == ()
    assert told(plain, **fast | {"num_inference_steps": 9}) == ()
    assert told(plain, **fast, loras=[{"name": "ink"}]) == ()
    assert told(plain, **fast, loras=[{"name": "ink", "scale": 0}]) == told(plain, **fast)


@pytest.mark.parametrize(
    "terms",
    [
        PLAIN,
        saying(steps=8),
        saying(guidance=1.0),
        saying(source="checkpoints/dreamshaperXL_Turbo.safetensors"),
        saying(name="sdxl-lightning"),
        saying(transformer="unet_4step.safetensors"),
    ],
)
def test_nothing_is_said_of_a_model_that_may_be_distilled(terms: Offer) -> None:
    assert told(terms, num_inference_steps=4, guidance_scale=1) == ()


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


def test_options_of_the_card_count_where_neither_request_nor_lora_names_a_scheduler() -> None:
    trailing = {"timestep_spacing": "trailing"}
    own = {"scheduler": "Euler", "scheduler_options": trailing}
    card = ModelCard(name="m", source="x", loras=FAST.card.loras, **own)
    terms = replace(FAST, card=card, scheduler=card.scheduler)

    def options(**asked: Any) -> dict[str, Any]:
        values = parse(CAT | asked, terms).values
        return {k: v for k, v in values["scheduler_options"].items() if v is not None}

    assert options() == trailing
    assert options(scheduler_options={"sigmas": "karras"}) == {**trailing, "sigmas": "karras"}
    assert options(scheduler_options={"timestep_spacing": "leading"}) != trailing
    assert options(scheduler="DDIM") == {}
    assert options(loras=[{"name": "lcm"}]) == {}


@pytest.mark.parametrize("own", [{}, {"scheduler": "LCM"}, {"scheduler": "Flow match Euler"}])
def test_options_that_the_scheduler_of_the_card_does_not_have_are_refused(own: dict) -> None:
    with pytest.raises(ValidationError, match="has no timestep_spacing"):
        ModelCard(name="m", source="x", **own, scheduler_options={"timestep_spacing": "trailing"})


def test_many_steps_with_a_lora_whose_name_says_few_and_whose_card_nothing_are_told() -> None:
    name = "sdxl_lightning_4step_lora"
    bare, asked = LoraCard(name=name, source="x"), {"loras": [{"name": name}]}
    assert told(with_loras(bare), **asked, num_inference_steps=25) == (
        f"The LoRA {name!r} is for 4 steps by its name, not 25; its card has no `defaults`: name "
        "scheduler, steps and guidance_scale in the request.",
    )
    assert told(with_loras(bare), **asked, num_inference_steps=8) == ()
    assert told(with_loras(bare), loras=[{"name": name, "scale": 0}], num_inference_steps=25) == ()
    knows = LIGHTNING.model_copy(update={"name": name})
    assert told(with_loras(knows), **asked, num_inference_steps=25, scheduler="DDIM") == ()


@pytest.mark.parametrize("name", ["lightning", "turbo-style", "v1.4steps", "24step", "4steppe"])
def test_a_name_that_may_mean_something_else_is_no_word_for_few_steps(name: str) -> None:
    terms = with_loras(LoraCard(name=name, source="x"))
    assert told(terms, loras=[{"name": name}], num_inference_steps=25) == ()


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
    assert not any("want different" in each for each in parse(twice, FAST).warnings)


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
