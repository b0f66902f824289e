"""Words of Replicate's API."""

import pytest
from starlette.datastructures import Headers

from darkroom.errors import InvalidRequestError
from service.dialects.replicate_requests import asked_of, life_s, parts_of, wait_s


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", 0),
        ("respond-async", 0),
        ("wait", 59.75),
        ("wait=5", 4.75),
        ("wait=600", 59.75),
        ("wait=0", 0),
    ],
)
def test_an_answer_comes_a_little_before_its_client_gives_up(prefer: str, seconds: float) -> None:
    assert wait_s(Headers({"prefer": prefer})) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1m30s", 90), ("1h", 3600), (" 2m ", 120)]
)
def test_a_life(text: str, seconds: float) -> None:
    assert life_s(Headers({"cancel-after": text})) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "1.5m", "5m1h", "\u0661s"])
def test_what_is_no_life(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        life_s(Headers(raw=[(b"cancel-after", text.encode())]))


def test_without_a_word_there_is_no_end_to_it() -> None:
    assert life_s(Headers()) is None


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("pix", ("pix", None)),
        ("a/b", ("a/b", None)),
        ("a/b:c", ("a/b", "c")),
        ("a/b:", ("a/b", None)),
    ],
)
def test_what_a_version_names(version: str, parts: tuple[str, str | None]) -> None:
    assert parts_of(version) == parts


def test_the_usual_name_of_an_input_goes_before_others() -> None:
    assert asked_of({"n": 3, "num_outputs": 2}).input.num_outputs == 2
    assert asked_of({"n": 3, "num_outputs": None}).input.num_outputs == 3


def test_pictures_come_in_order() -> None:
    asked = asked_of({"input_image_2": "c", "input_image": "b", "image": ["a", ""], "mask": ""})
    assert (asked.images, asked.mask) == (("a", "b", "c"), None)
