"""By which task pictures are changed."""

import pytest

from darkroom.errors import InvalidRequestError
from service.dialects.edits import edit_by
from tests.service.dialects.test_openai_requests import offering


def test_a_model_that_edits_gets_all_pictures_and_the_mask() -> None:
    body, told = edit_by(offering("edit"), ["a", "b"], "m")
    assert body == {"task": "edit", "images": ["a", "b"], "mask_image": "m"}
    assert not told


def test_others_inpaint_or_make_another_and_say_so() -> None:
    body, [told] = edit_by(offering("inpaint", "image-to-image"), ["a"], "m")
    assert body == {"task": "inpaint", "image": "a", "mask_image": "m"}
    assert "by inpaint" in told
    body, [told] = edit_by(offering("image-to-image"), ["a"])
    assert body == {"task": "image-to-image", "image": "a"}


def test_others_take_one_picture() -> None:
    with pytest.raises(InvalidRequestError, match="works from one picture, 2 came"):
        edit_by(offering("image-to-image"), ["a", "b"])


def test_an_upscaler_makes_pictures_larger_and_says_so() -> None:
    body, [told] = edit_by(offering("upscale"), ["a"])
    assert body == {"task": "upscale", "image": "a"}
    assert "larger" in told
    body, _ = edit_by(offering("upscale"), ["a"], "m")
    assert body["task"] == "inpaint", "refused, where a mask without effect would not be"


@pytest.mark.parametrize("task", ["image-to-image", "inpaint"])
def test_strength_goes_where_it_counts(task: str) -> None:
    body, _ = edit_by(offering(task), ["a"], "m" if task == "inpaint" else None, 0.4)
    assert body["strength"] == 0.4


@pytest.mark.parametrize("task", ["edit", "upscale"])
def test_strength_that_would_do_nothing_is_left_out_with_a_word(task: str) -> None:
    body, told = edit_by(offering(task), ["a"], strength=0.4)
    assert "strength" not in body
    assert "no strength" in told[-1]
