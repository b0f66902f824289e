"""What is said of pipelines that edit agrees with their calls."""

import inspect

import diffusers
import pytest

from darkroom.offers import diffusers_table
from worker.loading.editors import ARGUMENTS, EDITORS


@pytest.mark.parametrize("name", EDITORS)
def test_an_editor_takes_pictures_and_is_one_of_the_table(name: str) -> None:
    call = inspect.signature(getattr(diffusers, name).__call__).parameters
    assert len([each for each in ARGUMENTS if each in call]) == 1
    entry = diffusers_table()["pipelines"][name]
    assert entry["classes"]["edit"] == name
    assert entry["edited"] == EDITORS[name].most
