"""What the demo model was taught is known, and prompts beyond it are told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.catalog import Catalog
from darkroom.validation import parse
from darkroom.vocabulary import MOST_BYTES, Vocabulary, strangers
from tests.offers import FILE, SD

ROOT = Path(__file__).parents[2]
EMOJI = Vocabulary.read(ROOT / "models/emoji/vocabulary.txt")


def said_of(prompt: str) -> list[str]:
    return list(strangers(prompt, "emoji", EMOJI))


def test_every_name_and_every_example_is_known() -> None:
    card = Catalog.read(ROOT / "models.toml").find("emoji")
    assert len(EMOJI.things) == 312
    assert len(card.examples) >= 3
    for prompt in (*EMOJI.names, *card.examples):
        assert said_of(prompt) == said_of(f"a LARGE red {prompt} on a blue background") == []


@pytest.mark.parametrize(
    "prompt",
    [
        "two cats",
        "Cherries and tomatoes, peaches in boxes",
        "a (red:1.2) [apple] \\(round\\)",
        "a red apple on the table",
        "[apple:pizza:0.5]",
        "smiling face",
        "",
        "()",
    ],
)
def test_what_it_can_draw_is_not_worth_a_word(prompt: str) -> None:
    assert said_of(prompt) == []


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("the moon", "full moon"),
        ("🍕", "slice of pizza"),
        ("blurberries", "blueberries"),
        ("red background", "tomato"),
        ("красное яблоко", "tomato"),
        ("x", "tomato"),
        ("!", "tomato"),
    ],
)
def test_where_it_knows_nothing_it_names_what_may_be_meant(prompt: str, meant: str) -> None:
    [warning] = said_of(prompt)
    assert warning.startswith("prompt: the model 'emoji' draws 312 things, and none")
    assert meant in warning
    assert warning.count(",") <= 6


def test_where_it_knows_less_than_half_it_names_the_rest() -> None:
    [warning] = said_of("an astronaut riding a horse")
    assert "never taught astronaut, riding; GET /api/v1/models/emoji" in warning
    [warning] = said_of("apple, " + " ".join(f"word{n}" for n in range(99)))
    assert "word0, word1, word2, word3, word4 and more" in warning


def test_it_is_told_with_the_job_of_a_model_that_has_a_vocabulary() -> None:
    taught = type(SD)(**vars(SD) | {"vocabulary": EMOJI})
    assert parse({"prompt": "an idea"}, SD).warnings == ()
    for body in ({"prompt": "an idea"}, {"prompt": "an idea", "image": FILE}):
        [warning] = parse(body, taught).warnings
        assert "draws 312 things" in warning
    assert parse({"prompt": "", "image": FILE}, taught).warnings == ()


def test_a_file_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# what it knows\n\n Big  Cat|lion |\n|\n+ Red\tlarge\n+pale\nZoë\n")
    found = Vocabulary.read(path)
    assert found == Vocabulary((("big cat", "lion"), ("zoë",)), ("red", "large", "pale"))
    assert found.names == ("big cat", "lion", "zoë")
    path.write_text("")
    assert list(strangers("a cat", "m", Vocabulary.read(path))) == []
    path.write_bytes(b"a\n" * MOST_BYTES)
    with pytest.raises(ValueError, match="holds more than"):
        Vocabulary.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="decode"):
        Vocabulary.read(path)


@given(st.text(max_size=60))
def test_any_prompt_gets_at_most_one_sentence(prompt: str) -> None:
    assert len(said_of(prompt)) <= 1
