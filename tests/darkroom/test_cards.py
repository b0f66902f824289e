"""What a card may say beside its model; tests/darkroom/test_catalog.py has whole files."""

import pytest
from pydantic import ValidationError

from darkroom.cards import LoraCard, named_once


@pytest.mark.parametrize("name", ["a", "Ink.v2-soft_1", "9" * 64])
def test_names_that_clients_can_write_in_a_prompt_and_a_url(name):
    assert LoraCard(name=name, source="x").name == name


@pytest.mark.parametrize("name", ["", " a", "a b", "-a", "ä", "a/b", "a:b", "9" * 65])
def test_other_names_are_refused(name):
    with pytest.raises(ValidationError, match="Must be letters, digits"):
        LoraCard(name=name, source="x")


def test_a_lora_names_its_scheduler_as_people_do():
    lora = LoraCard(name="a", source="x", defaults={"scheduler": "dpm++ 2m"})
    assert lora.defaults.scheduler == "DPMSolverMultistepScheduler"
    with pytest.raises(ValidationError, match="Name sigmas in scheduler_options"):
        LoraCard(name="a", source="x", defaults={"scheduler": "Euler Karras"})


def test_no_two_have_the_same_name():
    one, two = LoraCard(name="a", source="x"), LoraCard(name="b", source="x")
    assert named_once((one, two)) == (one, two)
    with pytest.raises(ValueError, match=r"Each name may stand for one of them: a\."):
        named_once((one, two, one))
