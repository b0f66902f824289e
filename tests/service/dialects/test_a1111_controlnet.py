"""Units of the extension ControlNet as native controls."""

import pytest

from darkroom.errors import InvalidRequestError
from darkroom.validation import parse
from service.dialects.a1111_controlnet import controls
from tests.offers import FILE, SD

UNIT = {"image": FILE, "module": "canny", "model": "canny [d14c016b]", "weight": 0.5}


def test_units_of_controlnet():
    more = {"guidance_start": 0.1, "guidance_end": 0.9, "pixel_perfect": True, "mask": None}
    off = UNIT | {"enabled": False}
    found, told = controls({"ControlNet": {"args": [True, UNIT | more, off]}}, None, SD)
    expected = {"name": "canny", "image": FILE, "preprocess": "canny", "scale": 0.5}
    assert found == [expected | {"start": 0.1, "end": 0.9}]
    assert parse({"prompt": "a", "controls": found}, SD).values["controls"] == found
    assert told == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"threshold_a": 64, "threshold_b": 64}, ["canny sees the picture at its full size here"]),
        ({"processor_res": 512}, ["canny sees"]),
        ({"processor_res": 512, "pixel_perfect": True, "threshold_a": -1, "threshold_b": -1}, []),
        ({"threshold_a": 1, "module": "none"}, []),
        ({"control_mode": "My prompt is more important"}, ["Not done here: ControlNet/control_mo"]),
    ],
)
def test_what_a_unit_asks_for_in_vain_is_told(given, said):
    _, told = controls({"ControlNet": {"args": [UNIT | given]}}, None, SD)
    assert [text[: len(begin)] for text, begin in zip(told, said, strict=True)] == said


@pytest.mark.parametrize(
    "image", [{"image": {"image": FILE, "mask": None}}, {"input_image": FILE}, {}]
)
def test_where_a_unit_may_have_its_picture(image):
    unit = {"module": "None", "model": "canny"} | image
    [found], _ = controls({"controlnet": {"args": unit}}, FILE, SD)
    assert (found["image"], found["preprocess"]) == (FILE, None)


@pytest.mark.parametrize(
    ("unit", "pointer"),
    [
        (UNIT | {"image": ""}, "/image"),
        (UNIT | {"module": "depth_midas"}, "/module"),
        (UNIT | {"weight": "much"}, "/weight"),
    ],
)
def test_a_unit_that_is_wrong(unit, pointer):
    with pytest.raises(InvalidRequestError) as caught:
        controls({"ControlNet": {"args": [{"enabled": False}, unit]}}, None, SD)
    assert caught.value.errors[0].pointer == f"/alwayson_scripts/ControlNet/args/1{pointer}"


def test_a_unit_without_a_model_is_told_of():
    assert controls({"ControlNet": {"args": [{"module": "canny"}]}}, FILE, SD)[1]


@pytest.mark.parametrize("args", [None, 5, 1.5, True, "canny", {}, []])
def test_what_holds_no_units_is_passed_over(args):
    assert controls({"controlnet": {"args": args}}, FILE, SD)[0] == []
