"""How large pictures become."""

import pytest

from darkroom.errors import InvalidRequestError
from darkroom.validation import completed, parse
from tests.offers import (
    CAT,
    DIT,
    FILE,
    LDM,
    SD,
    UPSCALER,
    wrong,
)


def test_an_upscaled_picture_is_four_times_as_large():
    request = completed(parse({"image": FILE}, UPSCALER), UPSCALER, (33, 20))
    assert (request.width, request.height) == (132, 80)
    assert list(wrong({"image": FILE, "width": 64}, UPSCALER)) == ["/width"]
    with pytest.raises(InvalidRequestError, match="/image"):
        completed(parse({"image": FILE}, UPSCALER), UPSCALER, (129, 1))


def test_padding_counts_to_the_shape():
    body = CAT | {"image": FILE, "padding": {"left": 20, "right": 44}}
    request = completed(parse(body, SD), SD, (64, 32))
    assert request.width > 3 * request.height


def test_the_shape_is_the_pictures_and_the_number_of_pixels_the_models():
    request = completed(parse(CAT | {"image": FILE}, SD), SD, (256, 128))
    assert (request.width, request.height) == (88, 48)  # near 64 x 64 pixels, in eights


@pytest.mark.parametrize(("terms", "body"), [(DIT, {"class_label": 1}), (LDM, {})])
def test_models_of_one_size_refuse_another(terms, body):
    request = completed(parse(body, terms), terms, None)
    assert (request.width, request.height) == (64, 64)
    assert list(wrong(body | {"width": 128}, terms)) == ["/width"]
