"""Compositions and captions: the same seed gives the same, and captions say what is to be seen."""

import random
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from darkroom.vocabulary import Vocabulary
from training import data

COLOUR = "|".join(data.COLOURS)


@pytest.fixture
def pictures() -> tuple[data.Picture, ...]:
    return data.load_pictures()


def test_every_name_is_an_official_one_and_stands_once():
    names = [names[0] for names in data.read_vocabulary()]
    assert all(unicodedata.lookup(name) for name in names)
    assert len(names) == len(set(names)) >= 300


def test_the_shipped_model_lists_what_it_was_taught(tmp_path):
    data.write_vocabulary(tmp_path / "vocabulary.txt")
    shipped = Path(__file__).parents[2] / "models" / "emoji" / "vocabulary.txt"
    assert shipped.read_text() == (tmp_path / "vocabulary.txt").read_text()
    found = Vocabulary.read(shipped)
    assert list(found.things) == data.read_vocabulary()
    assert {*data.COLOURS, *data.SCALES, "background"} == {*found.words}


@pytest.mark.usefixtures("font")
def test_same_seed_same_pictures():
    first, compositions = data.compose(7, 5, 64)
    again, same = data.compose(7, 5, 64)
    assert compositions == same
    np.testing.assert_array_equal(first, again)
    assert data.compose(8, 5, 64)[1] != compositions


@pytest.mark.usefixtures("font")
def test_background_fills_what_the_picture_leaves():
    rendered, compositions = data.compose(7, 20, 64)
    for picture, composition in zip(rendered, compositions, strict=True):
        if composition.size == "small":
            assert tuple(picture[0, 0]) == data.COLOURS[composition.background]


@pytest.mark.usefixtures("font")
def test_captions_follow_the_grammar(pictures):
    rng = random.Random(3)
    for _ in range(300):
        composition = data.draw_composition(rng, pictures)
        names = pictures[composition.picture].names
        caption = data.describe(composition, names, rng)
        name = "|".join(map(re.escape, names))
        grammar = rf"(an? )?(large |small )?(({COLOUR}) )??({name})( on an? ({COLOUR}) background)?"
        assert re.fullmatch(grammar, caption), caption
        if composition.hue:
            assert f"{composition.hue} " in caption
        if "on a" in caption:
            assert f"{composition.background} background" in caption


def test_articles_fit():
    assert data.with_article("orange") == "an orange"
    assert data.with_article("blue") == "a blue"


@pytest.mark.usefixtures("font")
def test_recolouring_turns_the_hue_and_keeps_the_shape(pictures):
    lemon = next(p for p in pictures if p.names[0] == "lemon").image
    blue = data.recolour(lemon, "blue")
    assert blue.getchannel("A").tobytes() == lemon.getchannel("A").tobytes()
    red, _, bluish, _ = np.asarray(blue)[blue.height // 2, blue.width // 2]
    assert bluish > red


def test_a_missing_font_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "FONT_FOLDERS", (str(tmp_path),))
    with pytest.raises(FileNotFoundError, match="fonts-noto-color-emoji"):
        data.find_font()
