"""How large pictures become."""

import pytest

from darkroom.errors import InvalidRequestError
from darkroom.sizes import of_shape
from darkroom.validation import completed, parse
from tests.offers import (
    CAT,
    DIT,
    FILE,
    FLUX2,
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


def test_no_rounding_makes_more_pixels_than_there_may_be():
    more = SD.limits.model_copy(update={"max_pixels": 256 * 264})
    assert of_shape((16, 9), 256 * 256, SD.limits) == (336, 192)
    assert of_shape((16, 9), 256 * 256, more) == (344, 192)


@pytest.mark.parametrize(("terms", "body"), [(DIT, {"class_label": 1}), (LDM, {})])
def test_models_of_one_size_refuse_another(terms, body):
    request = completed(parse(body, terms), terms, None)
    assert (request.width, request.height) == (64, 64)
    assert list(wrong(body | {"width": 128}, terms)) == ["/width"]


@pytest.mark.parametrize(
    ("image", "size"),
    [
        ((100, 90), (96, 88)),  # down to the multiple
        ((1024, 256), (512, 128)),  # down to the longest side
        ((400, 400), (256, 256)),  # down to the most pixels
        ((5000, 3), (512, 8)),
        ((3, 2), (8, 8)),  # up to the shortest side
    ],
)
def test_an_edit_has_the_size_of_its_first_picture_within_the_limits(image, size):
    request = completed(parse(CAT | {"images": [FILE, FILE]}, FLUX2), FLUX2, image)
    assert (request.width, request.height) == size
