import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom import schedulers
from darkroom.schedulers import NAMES, SCHEDULE_TYPES, resolve, short

TABLE = Path(schedulers.__file__).parent / "diffusers_table.json"
SIGMAS = (None, *SCHEDULE_TYPES)


@pytest.mark.parametrize(
    ("name", "class_name", "sigmas"),
    [
        ("Euler a", "EulerAncestralDiscreteScheduler", None),
        ("euler_ancestral", "EulerAncestralDiscreteScheduler", None),
        ("K_EULER_ANCESTRAL", "EulerAncestralDiscreteScheduler", None),
        ("k_euler", "EulerDiscreteScheduler", None),
        ("Euler", "EulerDiscreteScheduler", None),
        ("DPM++ 2M", "DPMSolverMultistepScheduler", None),
        ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", "karras"),
        ("dpmpp_2m", "DPMSolverMultistepScheduler", None),
        ("dpmpp_2m_karras", "DPMSolverMultistepScheduler", "karras"),
        ("dpmpp_2m_k", "DPMSolverMultistepScheduler", "karras"),
        ("dpmpp-2m-exponential", "DPMSolverMultistepScheduler", "exponential"),
        ("DPMSolverMultistep", "DPMSolverMultistepScheduler", None),
        ("DPM++ 2S", "DPMSolverSinglestepScheduler", None),
        ("dpm_2", "KDPM2DiscreteScheduler", None),
        ("k_dpm_2_a", "KDPM2AncestralDiscreteScheduler", None),
        ("dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler", None),
        ("kdpm_2", "KDPM2DiscreteScheduler", None),
        ("DDIM", "DDIMScheduler", None),
        ("ddpm", "DDPMScheduler", None),
        ("PLMS", "PNDMScheduler", None),
        ("pndm", "PNDMScheduler", None),
        ("LMS Karras", "LMSDiscreteScheduler", "karras"),
        ("heun beta", "HeunDiscreteScheduler", "beta"),
        ("uni_pc", "UniPCMultistepScheduler", None),
        ("UniPC", "UniPCMultistepScheduler", None),
        ("lcm", "LCMScheduler", None),
        ("flow_match_euler", "FlowMatchEulerDiscreteScheduler", None),
        ("eulerdiscretescheduler", "EulerDiscreteScheduler", None),
    ],
)
def test_names_as_people_type_them(name: str, class_name: str, sigmas: str | None) -> None:
    assert resolve(name) == (class_name, sigmas)


@pytest.mark.parametrize("name", ["", "Karras", "euler b", "DPM", "DPM++ 2M SDE", "k", "Scheduler"])
def test_a_name_that_nobody_knows_stands_for_nothing(name: str) -> None:
    assert resolve(name) is None


@given(st.text(max_size=40))
def test_any_text_is_either_a_name_or_none(name: str) -> None:
    found = resolve(name)
    assert found is None or (found[0] in NAMES and found[1] in SIGMAS)


@pytest.mark.parametrize(("class_name", "sigmas"), product(NAMES, SIGMAS))
def test_a_short_name_leads_back_to_what_it_was_made_from(
    class_name: str, sigmas: str | None
) -> None:
    assert resolve(short(class_name, sigmas)) == (class_name, sigmas)
    assert resolve(class_name) == (class_name, None)


def test_no_name_stands_for_two_schedulers() -> None:
    forms = [name.lower().replace(" ", "") for names in NAMES.values() for name in names]
    assert len(forms) == len(set(forms))


def test_other_schedulers_keep_their_class_name() -> None:
    assert short("AmusedScheduler") == "AmusedScheduler"
    assert short("DPMSolverMultistepScheduler", "karras") == "DPM++ 2M Karras"


def test_every_class_is_one_that_diffusers_has() -> None:
    known = set(json.loads(TABLE.read_text())["schedulers"])
    needs_more = {"DPMSolverSDEScheduler"}
    assert set(NAMES) <= known | needs_more
