"""Every combination that was measured is near, refused, or told of."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from darkroom import scheduler_table
from darkroom.catalog import Catalog
from darkroom.draft import Draft
from darkroom.errors import InvalidRequestError
from darkroom.families import diffusers_table
from darkroom.few_steps import DISTILLED
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer, offer
from darkroom.scheduler_table import FAR, STEPS, STRENGTHS, Layout, layouts, still, table
from darkroom.schedulers import Sigmas, Spacing
from darkroom.validation import completed, parse
from tests.offers import FILE, UNSEEN

CATALOG = Catalog.read(Path(__file__).parents[2] / "models.toml")
EMOJI = offer(CATALOG, CATALOG.find("emoji"), None)


def body(layout: Layout, steps: int, strength: float | None) -> dict[str, Any]:
    options = {"sigmas": layout.sigmas, "timestep_spacing": layout.spacing}
    asked = {
        "prompt": "red apple",
        "scheduler": layout.scheduler,
        "scheduler_options": options,
        "num_inference_steps": steps,
    }
    return asked if strength is None else asked | {"image": FILE, "strength": strength}


def told(terms: Offer = EMOJI, **fields: Any) -> str:
    """The one thing that is said of a request, refused or not."""
    try:
        warnings = parse({"prompt": "red apple"} | fields, terms).warnings
    except InvalidRequestError as error:
        [entry] = error.errors
        assert entry.pointer == "/num_inference_steps"
        return f"refused: {entry.detail}"
    return " ".join(warnings)


def test_all_that_is_offered_was_measured() -> None:
    known, offered = diffusers_table(), set()
    for name in set(EMOJI.schedulers) - DISTILLED:
        able = known["scheduler_options"][name]
        spacings = get_args(Spacing) if "timestep_spacing" in able else (None,)
        for sigmas in (None, *(each for each in able if each in get_args(Sigmas))):
            offered |= {Layout(name, sigmas, spacing) for spacing in spacings}
    assert offered == set(layouts())
    assert still().keys() == table().keys()
    assert all(len(row) == len(STEPS) for row in still().values())
    assert all(len(rows) == len(STEPS) for rows in table().values())
    assert all(len(row) == len(STRENGTHS) for rows in table().values() for row in rows)


@pytest.mark.parametrize("layout", layouts(), ids=lambda layout: layout.name)
def test_what_is_far_is_refused_or_told(layout: Layout) -> None:
    for steps, row in zip(STEPS, table()[layout.name], strict=True):
        for strength, far in zip(STRENGTHS, row, strict=True):
            made = steps if strength is None else int(steps * strength)
            assert (far is None) == (made == 0)
            values = body(layout, steps, strength)
            refused = list(scheduler_table.refusals(values, EMOJI))
            warned = list(scheduler_table.warnings(values, EMOJI))
            assert len(warned) <= 1
            if far is not None and far > FAR:
                assert refused or warned
            elif not refused:
                is_still = 0 < made <= still()[layout.name][STEPS.index(steps)]
                assert bool(warned) == (is_still and strength is not None)


def test_usual_requests_are_not_bothered() -> None:
    for layout in layouts():
        for steps in (25, 30, 50, 150):
            for strength in (None, 0.3, 0.8):
                assert told(**body(layout, steps, strength)) == "", layout.name


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"scheduler": "Heun", "num_inference_steps": 3},
            "Heun with trailing timesteps in 3 steps is far from a finished picture: "
            "use at least 4 steps or Euler.",
        ),
        (
            {"scheduler": "PLMS", "num_inference_steps": 2, "image": FILE, "strength": 0.5},
            "PLMS with trailing timesteps in 2 steps at strength 0.5 is far from a finished "
            "picture: use at least 15 steps.",
        ),
        (
            {"num_inference_steps": 1},
            "DDIM with trailing timesteps in 1 step is far from a finished picture: "
            "use at least 2 steps.",
        ),
        (
            {"num_inference_steps": 1, "scheduler_options": {"timestep_spacing": "leading"}},
            "refused: One step of DDIM with leading timesteps leaves nearly all noise: "
            "ask for at least 3 steps, or for timestep_spacing trailing.",
        ),
        (
            {"num_inference_steps": 1, "scheduler": "DEIS Karras"},
            "refused: One step of DEIS Karras with trailing timesteps leaves nearly all noise: "
            "ask for at least 4 steps, or for DPM++ 2M.",
        ),
        (
            {
                "num_inference_steps": 2,
                "image": FILE,
                "strength": 0.5,
                "scheduler_options": {"timestep_spacing": "leading"},
            },
            "DDIM with leading timesteps in 2 steps at strength 0.5 begins with almost no noise "
            "and leaves the picture nearly as it is: use at least 4 steps or strength 1.",
        ),
        (
            {
                "num_inference_steps": 10,
                "image": FILE,
                "strength": 0.1,
                "scheduler": "DPM++ 2M Karras",
            },
            "DPM++ 2M Karras with trailing timesteps in 10 steps at strength 0.1 begins with "
            "almost no noise and leaves the picture nearly as it is: use at least 20 steps or "
            "Euler or strength 0.2.",
        ),
        (
            {
                "num_inference_steps": 3,
                "image": FILE,
                "strength": 0.5,
                "scheduler": "PLMS",
                "scheduler_options": {"timestep_spacing": "linspace"},
            },
            "PLMS with linspace timesteps in 3 steps at strength 0.5 is far from a finished "
            "picture: use at least 15 steps.",
        ),
        (
            {
                "num_inference_steps": 25,
                "image": FILE,
                "strength": 0.05,
                "scheduler_options": {"timestep_spacing": "linspace"},
            },
            "DDIM with linspace timesteps in 25 steps at strength 0.05 begins with almost no noise "
            "and leaves the picture nearly as it is: use at least 50 steps or timestep_spacing "
            "trailing or strength 0.08.",
        ),
    ],
)
def test_what_is_said_tells_what_to_do(fields: dict[str, Any], sentence: str) -> None:
    assert told(**fields) == sentence


@pytest.mark.parametrize("spacing", ["leading", "linspace"])
def test_one_step_that_changes_nothing_is_told_whatever_the_strength(spacing: str) -> None:
    asked = {"image": FILE, "scheduler_options": {"timestep_spacing": spacing}}
    for steps in range(2, 51):
        for made in (1, 2):
            said = told(num_inference_steps=steps, strength=min((made + 0.5) / steps, 1.0), **asked)
            assert ("nearly as it is" in said) == (made == 1)
    assert told(num_inference_steps=25, strength=0.01, **asked) == "", "no step, told by the worker"


def test_between_two_that_were_measured_the_lower_one_counts() -> None:
    plms = Layout("PNDMScheduler", None, "trailing")
    told_of = [steps for steps in range(2, 26) if told(**body(plms, steps, None))]
    assert told_of == [*range(2, told_of[-1] + 1)]
    assert told_of[-1] + 1 in STEPS


def test_between_two_strengths_the_worse_one_counts() -> None:
    """At 0.5 two of four steps are made, and are near; at 0.8 three, and are not."""
    unipc = {"scheduler": "UniPC Beta", "num_inference_steps": 4, "image": FILE}
    said = [bool(told(**unipc, strength=strength)) for strength in (0.5, 0.79, 0.8, 1.0)]
    assert said == [False, True, True, True]


def test_leading_steps_that_leave_out_the_top_are_told() -> None:
    many = replace(EMOJI, limits=EMOJI.limits.model_copy(update={"max_steps": 1000}))
    leading = {"scheduler_options": {"timestep_spacing": "leading"}}
    assert "40% of the noise" in told(many, num_inference_steps=600, **leading)
    assert told(many, num_inference_steps=500, **leading) == ""


def test_models_for_few_steps_hear_only_what_another_scheduler_does_better() -> None:
    turbo = replace(EMOJI, steps=4)
    assert told(turbo, num_inference_steps=1) == ""
    assert "use at least 4 steps or Euler" in told(turbo, scheduler="Heun", num_inference_steps=3)


def test_what_a_request_leaves_open_is_as_the_model_has_it() -> None:
    about = {"pipeline": "StableDiffusionPipeline", "tasks": ("text-to-image",)}
    names = ("DDIMScheduler", "DEISMultistepScheduler")
    record = ModelRecord(
        name="emoji",
        source=EMOJI.card.source,
        schedulers=names,
        sigmas="karras",
        timestep_spacing="leading",
        **about,
    )
    terms = offer(CATALOG, EMOJI.card, record)
    assert told(terms, num_inference_steps=1).startswith("refused: One step of DDIM with leading")
    deis = told(terms, num_inference_steps=1, scheduler="DEIS")
    assert deis.startswith("refused: One step of DEIS Karras with leading")
    bare = offer(CATALOG, EMOJI.card, record.model_copy(update={"timestep_spacing": None}))
    assert "with leading" in told(bare, num_inference_steps=1), "the class's own"


def test_nothing_is_said_of_what_is_not_known_until_it_is() -> None:
    draft = parse({"prompt": "red apple", "num_inference_steps": 1}, UNSEEN)
    assert draft.warnings == ()
    leading = replace(EMOJI, timestep_spacing="leading")
    late = Draft(draft.task, draft.values | {"model": "emoji"})
    with pytest.raises(InvalidRequestError, match="nearly all noise"):
        completed(late, leading, None)
    assert told(scheduler="DDIM", num_inference_steps=1) == told(num_inference_steps=1)


def test_schedulers_that_were_not_measured_are_not_judged() -> None:
    values = {"scheduler": "FlowMatchEulerDiscreteScheduler", "num_inference_steps": 1}
    assert scheduler_table.layout_of(values, EMOJI) is None
    assert not [*scheduler_table.refusals(values, EMOJI), *scheduler_table.warnings(values, EMOJI)]
