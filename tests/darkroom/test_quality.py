"""Qualities in words, as steps."""

import pytest

from darkroom.quality import FEW, WORDS, Quality, steps_of


@pytest.mark.parametrize(
    ("word", "steps"),
    [
        ("auto", None),
        ("medium", None),
        ("standard", None),
        ("low", 10),
        ("high", 30),
        ("hd", 30),
        ("xhigh", 40),
        ("max", 60),
    ],
)
def test_a_word_is_a_multiple_of_the_usual_steps(word, steps):
    assert word in WORDS
    assert steps_of(word, Quality(), 20, 150) == steps


def test_the_card_has_the_first_word():
    card = Quality(low=4, medium=12)
    assert [steps_of(word, card, 20, 150) for word in ("low", "standard", "high")] == [4, 12, 30]
    assert steps_of("low", card, None, 150) == 4


def test_no_more_steps_than_the_model_takes():
    assert steps_of("max", Quality(), 100, 150) == 150
    assert steps_of("low", Quality(low=9), 100, 8) == 8


@pytest.mark.parametrize("usual", [None, FEW])
def test_a_model_of_few_steps_or_unknown_is_left_alone(usual):
    assert {steps_of(word, Quality(), usual, 150) for word in WORDS} == {None}
