"""What is measured on pictures is what was drawn."""

import random

import numpy as np
import pytest
import torch

from training import measures
from training.classifier import Classifier
from training.data import COLOURS, Composition, compose, draw_composition, load_pictures, render
from training.measures import (
    PROMPT_SEED,
    RESOLUTION,
    Judge,
    background_colour,
    extent,
    follow_rates,
    nearest_colour,
    nearness,
    overlap,
    redness,
)


@pytest.fixture
def judge(monkeypatch) -> Judge:
    """Untrained: knows a picture again, and nothing that is only like it."""
    monkeypatch.setattr(measures, "EXAMPLES", 1)
    torch.manual_seed(0)
    return Judge(Classifier([4, 8]))


def draw_block(background: str, top: int, left: int, side: int) -> np.ndarray:
    picture = np.full((64, 64, 3), COLOURS[background], dtype=np.uint8)
    picture[top : top + side, left : left + side] = COLOURS["red"]
    return picture


@pytest.mark.parametrize("name", COLOURS)
def test_background_is_read_from_the_corners(name):
    picture = draw_block(name, 0, 0, 30)  # covers one corner of four
    assert nearest_colour(background_colour(picture)) == name


def test_extent_is_the_longer_side():
    picture = draw_block("white", 8, 8, 16)
    picture[20:60, 10:14] = COLOURS["black"]
    assert extent(picture) == (60 - 8) / 64
    assert extent(draw_block("white", 0, 0, 0)) == 0


def test_redness_is_the_share_of_red():
    assert redness(draw_block("white", 16, 16, 32)[None]) == 25
    assert redness(draw_block("yellow", 0, 0, 0)[None]) == 0


def test_edges_beside_each_other_are_near_but_do_not_overlap():
    edges, beside, far = np.zeros((3, 1, 16, 16), dtype=bool)
    edges[0, 4], beside[0, 5], far[0, 6] = True, True, True
    assert (overlap(edges, edges), nearness(edges, edges)) == (100, 100)
    assert (overlap(edges, beside), nearness(edges, beside)) == (0, 100)
    assert (overlap(edges, far), nearness(edges, far)) == (0, 0)
    assert overlap(edges, edges | far) == 50
    assert nearness(edges, edges | far) == pytest.approx(100 * 2 / 3)


@pytest.mark.usefixtures("font")
def test_judge_knows_its_examples_again(judge):
    rng, pictures = random.Random(PROMPT_SEED), load_pictures()
    examples = [draw_composition(rng, pictures, number) for number in range(8)]
    rendered = np.stack([render(c, pictures, RESOLUTION) for c in examples])
    nearest = judge.nearest(rendered, 5)
    assert [top[0] for top in nearest] == list(range(8))
    assert [len(set(top)) for top in nearest] == [5] * 8


@pytest.mark.usefixtures("font")
def test_pictures_follow_the_compositions_that_they_were_drawn_from(judge):
    pictures, compositions = compose(7, 64, RESOLUTION)
    rates = follow_rates(pictures, compositions, judge)
    assert (rates["background"], rates["size"]) == (100, 100)
    assert 0 < rates["nearest"] < rates["among five"]
    others: list[Composition] = compositions[1:] + compositions[:1]
    assert follow_rates(pictures, others, judge)["background"] < 50
    assert follow_rates(pictures, others, judge)["size"] < 80
