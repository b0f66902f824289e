import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.request import Inpaint
from worker.making.canvas import Around, canvas, extend


def request(**fields: object) -> Inpaint:
    usual = {
        "task": "inpaint",
        "model": "any",
        "prompt": "",
        "image": "",
        "width": 32,
        "height": 16,
        "num_inference_steps": 1,
        "scheduler": "DDIMScheduler",
        "seed": 1,
        "num_images": 1,
        "mask_blur": 0,
    }
    return Inpaint.model_validate(usual | fields)


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def dotted(*dots: tuple[int, int], size: tuple[int, int] = (32, 16)) -> Image.Image:
    mask = Image.new("L", size)
    for dot in dots:
        mask.putpixel(dot, 255)
    return mask


NEW = np.full((16, 32, 3), 77, np.uint8)


def test_picture_and_mask_are_brought_to_size() -> None:
    begun = canvas(request(), picture(64, 64), Image.new("L", (5, 7), 255))
    assert begun.picture.size == begun.mask.size == (32, 16)
    assert (begun.compose(NEW) == 77).all()
    assert begun.is_all_new
    assert not begun.is_kept


@pytest.mark.parametrize("scale", [0.25, 1, 2, 3.3])
def test_a_hard_mask_of_any_size_leaves_what_it_keeps_to_the_bit(scale: float) -> None:
    mask = Image.new("L", (round(32 * scale) // 2 * 2, round(16 * scale)))
    mask.paste(255, (mask.width // 2, 0, *mask.size))
    begun = canvas(request(), picture(32, 16), mask)
    made = begun.compose(NEW)
    assert (made[:, :16] == np.asarray(begun.picture)[:, :16]).all()
    assert (made[:, 16:] == 77).all()
    assert not begun.is_all_new


def test_thin_strokes_cover_whole_pixels_of_the_latents() -> None:
    blocks = np.asarray(canvas(request(), picture(32, 16), dotted((3, 5), (31, 15))).blocks(8))
    assert (blocks[:8, :8] == 255).all()
    assert (blocks[8:, 24:] == 255).all()
    assert blocks.sum() == 2 * 64 * 255


def test_sizes_that_are_no_multiple_have_narrow_blocks_at_the_edge() -> None:
    begun = canvas(request(width=30), picture(30, 16), dotted((29, 0), size=(30, 16)))
    blocks = np.asarray(begun.blocks(8))
    assert blocks.shape == (16, 30)
    assert blocks.sum() == 6 * 8 * 255


@pytest.mark.parametrize("blur", [0, 1, 3])
def test_blur_mixes_at_the_edge_and_leaves_the_rest_to_the_bit(blur: int) -> None:
    mask = Image.new("L", (32, 16))
    mask.paste(255, (0, 0, 16, 16))
    begun = canvas(request(mask_blur=blur), picture(32, 16), mask)
    made = begun.compose(NEW)
    old = np.asarray(begun.picture)
    assert (made[:, 16 + 3 * blur :] == old[:, 16 + 3 * blur :]).all()
    assert (made[:, : 16 - 3 * blur] == 77).all()
    shares = begun.share[8, :, 0].astype(int)
    assert len(set(shares)) == 2 if blur == 0 else len(set(shares)) > 3
    assert (np.diff(shares) <= 0).all()


def test_grey_lets_through_its_share() -> None:
    begun = canvas(request(), picture(32, 16), Image.new("L", (32, 16), 128))
    expected = 77 * 128 / 255 + np.asarray(begun.picture) * (127 / 255)
    assert np.abs(begun.compose(NEW) - expected).max() <= 0.5


def test_padding_repeats_the_edge_and_is_all_new() -> None:
    padding = {"left": 16, "top": 0, "right": 0, "bottom": 0}
    begun = canvas(request(padding=padding), picture(16, 16), None)
    pixels, made = np.asarray(begun.picture), begun.compose(NEW)
    assert (pixels[:, 16:] == np.asarray(picture(16, 16))).all()
    assert (pixels[:, :16] == pixels[:, 16:17]).all()
    assert (made[:, :16] == 77).all()
    assert (made[:, 16:] == pixels[:, 16:]).all()


def test_padding_is_counted_in_pixels_of_the_picture_that_is_padded() -> None:
    padding = {"left": 0, "top": 0, "right": 32, "bottom": 0}
    begun = canvas(request(padding=padding), picture(32, 32), None)
    assert begun.mask.getbbox() == (16, 0, 32, 16)


def test_a_soft_seam_lies_within_the_picture() -> None:
    padding = {"left": 0, "top": 0, "right": 64, "bottom": 0}
    begun = canvas(request(width=128, mask_blur=3, padding=padding), picture(64, 16), None)
    shares = begun.share[8, :, 0]
    assert (shares[64:] == 255).all()
    assert shares[63] > 240
    assert (shares[: 64 - 6 - 9] == 0).all()
    assert begun.mask.getbbox() == (58, 0, 128, 16)


def test_more_padding_than_canvas_leaves_one_pixel_of_the_picture() -> None:
    padding = {"left": 4096, "top": 4096, "right": 4096, "bottom": 4096}
    begun = canvas(request(padding=padding, mask_blur=9), picture(1, 1), None)
    assert (begun.compose(NEW) == 77).sum() >= (32 * 16 - 1) * 3


def test_a_picture_is_extended_to_multiples_by_its_edge() -> None:
    small = picture(7, 5)
    pixels = np.asarray(extend(small, 4))
    assert pixels.shape == (8, 8, 3)
    assert (pixels[:5, :7] == np.asarray(small)).all()
    assert (pixels[:, 7] == pixels[:, 6]).all()
    assert (pixels[5:] == pixels[4]).all()
    assert extend(small.convert("L"), 1).size == (7, 5)


def test_only_the_part_around_a_mask_is_made_and_put_back() -> None:
    photo, mask = picture(128, 96), Image.new("L", (128, 96))
    mask.paste(255, (40, 30, 56, 38))
    begun = canvas(request(padding_mask_crop=8), photo, mask)
    # 16 x 8 with 8 on each side, widened to twice as wide as high.
    assert begun.around.box == (24, 22, 72, 46)
    assert begun.picture.size == begun.mask.size == (32, 16)
    assert not begun.is_kept
    old, new = np.asarray(photo), begun.compose(NEW)
    assert new.shape == old.shape
    assert (new[33:35, 44:52] == 77).all()
    kept = np.ones((96, 128), bool)
    kept[26:42, 36:60] = False  # the mask, and the pixels of the canvas that it touches
    assert (new[kept] == old[kept]).all()


def test_of_a_part_without_a_mask_all_is_kept() -> None:
    begun = canvas(request(padding_mask_crop=0), picture(64, 64), Image.new("L", (64, 64)))
    assert begun.is_kept
    assert begun.whole.size == (64, 64)


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    place=st.tuples(*[st.floats(0, 1)] * 4),
    more=st.integers(0, 40),
)
def test_the_part_lies_within_the_picture_and_holds_what_is_repainted(size, place, more) -> None:
    width, height = size
    left, top = int(place[0] * (width - 1)), int(place[1] * (height - 1))
    right = left + 1 + int(place[2] * (width - left - 1))
    bottom = top + 1 + int(place[3] * (height - top - 1))
    mask = Image.new("L", size)
    mask.paste(255, (left, top, right, bottom))
    begun = canvas(request(padding_mask_crop=more), Image.new("RGB", size), mask)
    a, b, c, d = begun.around.box
    assert 0 <= a <= left < right <= c <= width
    assert 0 <= b <= top < bottom <= d <= height
    assert begun.compose(NEW).shape == (height, width, 3)


def test_the_same_part_of_pictures_of_other_sizes() -> None:
    around = Around(picture(32, 16), (8, 4, 24, 12))
    large, flat, dot = picture(64, 64), picture(16, 2), picture(1, 1)
    assert around.part_of(large).tobytes() == large.crop((16, 16, 48, 48)).tobytes()
    assert around.part_of(flat).size == (8, 2)
    assert around.part_of(dot).size == (1, 1)
