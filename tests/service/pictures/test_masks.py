import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.errors import InvalidImageError
from service.pictures.decode import decode
from service.pictures.masks import READ_BY_TRANSPARENCY
from tests.picture_files import encoded, noise, wish

HALF = np.zeros((16, 16), np.uint8)
HALF[:, 8:] = 255
"""White, or opaque, on the right."""


def read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(decode(data, wish(kind="mask")).png)))


def notes(data: bytes) -> tuple[str, ...]:
    return decode(data, wish(kind="mask")).notes


def drawn(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([np.broadcast_to(colours.T, (3, 16, 16)).T, alpha]))


def of(grey: int | np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(grey, np.uint8)[..., None], (16, 16, 3))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_white_is_painted_anew_whatever_the_pixels_are(mode):
    sixteen_bits = Image.fromarray(HALF.astype(np.uint16) * 257)
    mask = sixteen_bits if mode == "I;16" else Image.fromarray(HALF).convert(mode)
    assert (read(encoded(mask)) == HALF).all()
    assert notes(encoded(mask)) == ()


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP"])
def test_what_lossy_formats_do_to_black_and_white_is_undone(fmt):
    mask = read(encoded(Image.fromarray(HALF).convert("RGB"), fmt, quality=40))
    assert (mask[:, :7] == 0).all()
    assert (mask[:, 9:] == 255).all()


@pytest.mark.parametrize("fmt", ["PNG", "WEBP"])
@pytest.mark.parametrize("more", [{}, {"exif": b"Exif\0\0"}, {"save_all": True}])
def test_greys_of_a_lossless_mask_are_kept(fmt, more):
    steps = np.arange(256, dtype=np.uint8).reshape(16, 16)
    mask = Image.fromarray(steps).convert("RGB")
    frames = {"append_images": [Image.new("RGB", (16, 16))]} if "save_all" in more else {}
    assert (read(encoded(mask, fmt, lossless=True, **more, **frames)) == steps).all()


def test_a_picture_with_a_hole_is_painted_anew_in_the_hole():
    with_hole = noise((16, 16))
    with_hole.putalpha(Image.fromarray(255 - HALF))
    for fmt, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = encoded(with_hole, fmt, **options)
        assert (read(data) == HALF).all()
        assert notes(data) == (READ_BY_TRANSPARENCY,)


def test_black_with_a_hole_is_painted_anew_in_the_hole():
    data = encoded(drawn(of(0), 255 - HALF))
    assert (read(data) == HALF).all()
    assert notes(data) == (READ_BY_TRANSPARENCY,)


@pytest.mark.parametrize(
    "colours",
    [
        of(255),
        of(128),
        np.broadcast_to(np.array([255, 0, 0], np.uint8), (16, 16, 3)),
        of(np.where(np.arange(16) % 2, 255, 0)[:, None] * np.ones(16)),
    ],
    ids=["white", "grey", "red", "black and white"],
)
def test_strokes_on_a_clear_ground_may_mean_either(colours):
    for alpha in (HALF, 255 - HALF, np.minimum(HALF, 180)):
        with pytest.raises(InvalidImageError, match="repainted or kept; paint white"):
            read(encoded(drawn(colours, alpha)))


def test_a_mask_that_shows_nothing_is_refused():
    with pytest.raises(InvalidImageError, match="transparent everywhere"):
        read(encoded(drawn(of(HALF), 0 * HALF)))


@pytest.mark.parametrize("alpha", [1, 128, 254])
def test_transparency_that_draws_nothing_says_nothing(alpha):
    assert (read(encoded(drawn(of(HALF), 0 * HALF + alpha))) == HALF).all()
    veiled = np.where(HALF, 255, max(alpha, 128)).astype(np.uint8)
    assert (read(encoded(drawn(of(HALF), veiled))) == HALF).all()


@given(st.binary(min_size=768, max_size=768), st.sampled_from([0, 90, 255]), st.booleans())
def test_files_that_look_alike_are_the_same_mask(hidden, grey, colourful):
    colours = of(grey).copy()
    if colourful:
        colours[:, :8] = np.asarray(noise((8, 16)))
    other = np.where(
        (HALF == 255)[..., None], np.frombuffer(hidden, np.uint8).reshape(16, 16, 3), colours
    )

    def outcome(pixels: np.ndarray) -> object:
        try:
            return read(encoded(drawn(pixels, 255 - HALF))).tobytes()
        except InvalidImageError as error:
            return str(error)

    assert outcome(colours) == outcome(other.astype(np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_a_mask_of_zero_and_one_is_told_apart_from_black(mode):
    ones = HALF // 255
    mask = Image.fromarray(ones.astype(np.uint16) * 257) if mode == "I;16" else of_mode(ones, mode)
    with pytest.raises(InvalidImageError, match=r"a mask of 0 and 1, .*multiply it by 255"):
        read(encoded(mask))
    assert read(encoded(Image.fromarray(0 * HALF))).max() == 0
    assert read(encoded(Image.fromarray(HALF > 0))).max() == 255
    two = np.where(ones, 2, 0).astype(np.uint8)
    assert read(encoded(Image.fromarray(two))).max() == 2


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP"])
@pytest.mark.parametrize("quality", [10, 40, 75, 90])
def test_black_that_lost_a_little_is_still_black(fmt, quality):
    black = encoded(Image.new("RGB", (16, 16)), fmt, quality=quality)
    assert read(black).max() == 0


def of_mode(greys: np.ndarray, mode: str) -> Image.Image:
    return Image.fromarray(greys).convert(mode)


@pytest.mark.parametrize("colours", [HALF, 255 - HALF, np.zeros_like(HALF), noise((16, 16))])
def test_an_alpha_mask_is_what_is_transparent_whatever_its_colours(colours):
    alpha = np.tile(np.arange(16, dtype=np.uint8) * 17, (16, 1))
    rgb = of(colours) if isinstance(colours, np.ndarray) else np.asarray(colours.convert("RGB"))
    picture = encoded(Image.fromarray(np.dstack([rgb, alpha])))
    decoded = decode(picture, wish(kind="alpha mask"))
    assert (np.asarray(Image.open(io.BytesIO(decoded.png))) == 255 - alpha).all()
    assert decoded.notes == ()


def test_an_alpha_mask_has_to_be_transparent_somewhere():
    with pytest.raises(InvalidImageError, match="no transparent part"):
        decode(encoded(Image.fromarray(HALF)), wish(kind="alpha mask"))


def drawn_white(data: bytes, kind: str = "drawn mask") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(decode(data, wish(kind=kind)).png)))


def test_a_drawn_mask_is_white_where_it_is_white_or_opaque():
    clear = drawn(of(0), HALF)
    for data in (
        encoded(Image.fromarray(HALF)),
        encoded(clear),
        encoded(drawn(of(HALF), of(255)[..., 0])),
    ):
        assert (drawn_white(data) == HALF).all()
        assert (drawn_white(data, "inverted drawn mask") == 255 - HALF).all()
