"""Pictures of another shape than they are to have."""

import pytest
from PIL import Image

from service.pictures.decode import decode
from service.pictures.fitting import fitted
from service.pictures.messages import Fit
from tests.picture_files import encoded, wish


def striped() -> Image.Image:
    """32 x 16: red, then lime, then blue, a quarter, a half and a quarter wide."""
    image = Image.new("RGB", (32, 16), "lime")
    image.paste((255, 0, 0), (0, 0, 8, 16))
    image.paste((0, 0, 255), (24, 0, 32, 16))
    return image


def test_what_is_cut_off_is_the_same_on_both_sides():
    made = fitted(striped(), Fit((16, 16), "crop"))
    assert made.size == (16, 16)
    assert {made.getpixel((x, 8)) for x in (2, 8, 13)} == {(0, 255, 0)}


def test_what_is_filled_has_the_colours_of_the_edges():
    upright = striped().rotate(90, expand=True)
    made = fitted(upright, Fit((64, 32), "fill"))
    assert made.size == (64, 32)
    rows = [made.getpixel((0, y)) for y in (2, 16, 29)]
    assert (
        rows
        == [made.getpixel((32, y)) for y in (2, 16, 29)]
        == [made.getpixel((63, y)) for y in (2, 16, 29)]
    )
    assert rows == [(0, 0, 255), (0, 255, 0), (255, 0, 0)]


@pytest.mark.parametrize("how", ["crop", "fill"])
@pytest.mark.parametrize("size", [(1, 50), (50, 1), (7, 7), (64, 16)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_any_size(how, size, mode):
    assert fitted(striped().convert(mode), Fit(size, how)).size == size


def test_picture_and_mask_of_a_request_are_brought_to_the_same_size():
    fit = Fit((16, 16), "crop")
    for kind in ("picture", "drawn mask"):
        assert decode(encoded(striped()), wish(kind=kind, fit=fit)).size == (16, 16)
