from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from darkroom.fields import Box, Colour, Fields, at_most, with_nulls


class Part(Fields):
    name: str
    scale: float = 1.0


class Whole(Fields):
    part: Part = Part(name="x")
    parts: Annotated[tuple[Part, ...], Field(strict=False, max_length=2), at_most(2)] = ()
    box: Box | None = None
    colour: Colour = "#ffffff"


def refusals(values: dict) -> list[tuple]:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(values)
    return [(error["loc"], error["type"]) for error in caught.value.errors()]


def test_null_is_the_same_as_left_out_at_every_depth():
    assert Whole.model_validate({"part": None, "parts": None}) == Whole()
    given = {"part": {"name": "y", "scale": None}, "parts": [{"name": "z", "scale": None}]}
    assert Whole.model_validate(given).parts[0].scale == 1.0


def test_a_schema_can_tell_that_what_may_be_left_out_may_be_null():
    told = with_nulls(Part.model_json_schema())["properties"]
    assert told["name"] == {"title": "Name", "type": "string"}
    scale = {"anyOf": [{"type": "number"}, {"type": "null"}], "default": 1.0, "title": "Scale"}
    assert told["scale"] == scale
    whole = Whole.model_json_schema()
    assert with_nulls(whole)["properties"]["box"] == whole["properties"]["box"]


def test_null_is_nothing_where_something_must_be():
    assert refusals({"part": {"name": None}}) == [(("part", "name"), "missing")]
    assert refusals({"nope": None}) == [(("nope",), "extra_forbidden")]
    assert refusals({"parts": [None]}) == [(("parts", 0), "model_type")]


def test_the_entries_of_a_list_are_counted_before_they_are_looked_at():
    assert refusals({"parts": [{}] * 3}) == [(("parts",), "too_many")]
    assert len(refusals({"parts": [{}] * 2})) == 2
    assert Whole.model_json_schema()["properties"]["parts"]["maxItems"] == 2


@pytest.mark.parametrize("box", [[0, 0, 0, 1], [0, 1, 1, 0]])
def test_a_box_has_an_area(box):
    assert refusals({"box": box}) == [(("box",), "empty_box")]


@pytest.mark.parametrize("colour", ["", "white", "#fff", "#12345g", "#1234567", "#ffffff\n"])
def test_a_colour_has_six_digits(colour):
    assert refusals({"colour": colour}) == [(("colour",), "malformed")]
    assert Whole(colour="#AbCdEf").colour == "#abcdef"
