import numpy as np
import pytest
from PIL import Image

from darkroom.masks import resized


def half(size: tuple[int, int], black: int = 0) -> Image.Image:
    """Its left half is black, its right half white."""
    mask = Image.new("L", size, black)
    mask.paste(255, (size[0] // 2, 0, *size))
    return mask


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (8, 8), (2, 3), (600, 40), (40, 600)])
def test_a_hard_edge_stays_where_it_is_whatever_the_size_of_the_mask(size):
    drawn = np.asarray(resized(half(size), (64, 32)))
    assert (drawn[:, :32] == 0).all()
    assert (drawn[:, 32:] == 255).all()


@pytest.mark.parametrize("side", range(3, 200, 7))
def test_a_hard_mask_stays_hard(side):
    drawn = np.asarray(resized(half((side, side)), (64, 64)))
    assert set(np.unique(drawn)) == {0, 255}
    assert abs((drawn == 255).mean() - 0.5) < 0.5 / min(side, 64) + 0.01


def test_greys_reach_no_further_than_their_pixel_when_a_mask_shrinks():
    mask = half((128, 128))
    mask.putpixel((0, 0), 200)
    drawn = np.asarray(resized(mask, (64, 64)))
    assert drawn[0, 0] == 50
    assert (drawn[:, :32] > 0).sum() == 1
    assert (drawn[:, 32:] == 255).all()


def test_greys_blend_when_a_mask_grows():
    assert len(np.unique(np.asarray(resized(half((8, 8), black=10), (64, 64))))) > 4


def test_a_mask_of_the_right_size_is_as_it_was():
    mask = half((7, 5), black=3)
    assert resized(mask, (7, 5)) is mask
