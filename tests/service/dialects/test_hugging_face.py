"""Words of Hugging Face's inference endpoints."""

import pytest

from service.dialects.hugging_face import asked_of, format_of


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "png"),
        ("*/*", "png"),
        ("image/png", "png"),
        ("image/jpg", "jpeg"),
        ("application/json, IMAGE/WEBP; q=0.3, image/png", "webp"),
        ("image/avif,text/html", "png"),
    ],
)
def test_the_first_format_that_is_known_counts(accept: str, expected: str) -> None:
    assert format_of(accept) == expected


def test_inputs_are_a_picture_where_a_prompt_stands_beside_them() -> None:
    alone = asked_of({"inputs": "a cat", "parameters": {"seed": 1}})
    assert (alone.prompt, alone.image) == ("a cat", None)
    beside = asked_of({"inputs": "iVBOR", "parameters": {"prompt": "a dog"}})
    assert (beside.prompt, beside.image) == ("a dog", "iVBOR")


def test_what_is_null_or_not_known_is_as_good_as_left_out() -> None:
    asked = asked_of({"inputs": "a cat", "parameters": None, "options": {"use_cache": False}})
    assert asked.parameters.model_dump(exclude_none=True) == {}
