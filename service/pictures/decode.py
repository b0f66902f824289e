"""From what a client sent to a PNG as Darkroom keeps it; in a decoder process."""

import io
from collections.abc import Callable

from PIL import Image, ImageChops

from darkroom.errors import InvalidImageError
from darkroom.masks import resized
from service.pictures import data_uris
from service.pictures.appearance import Seen, seen
from service.pictures.files import DAMAGE, FORMATS, PictureFile, not_a_picture, opened
from service.pictures.fitting import fitted
from service.pictures.masks import alpha_mask, drawn_mask, mask
from service.pictures.messages import Decoded, Kind, Wish

MAX_SIDE = 16_384
"""Of what is kept."""
MAX_OPENED_SIDE = 65_535
"""Of what is opened; a JPEG cannot have more."""
CONTROL_PIXELS = 40_000_000
"""So many take as long to decode as the map of one of 16 million, OpenCV's start included."""


def decode(data: bytes, wish: Wish, expect: Callable[[int], None] = lambda _: None) -> Decoded:
    """`expect` is told how many pixels are about to be decoded. Raises InvalidImageError, and
    MemoryError."""
    file = opened(data_uris.read(data) if wish.is_text else data)
    Image.MAX_IMAGE_PIXELS = None  # limits are checked here, by the header
    try:
        with Image.open(io.BytesIO(file.data), formats=FORMATS) as image:
            _check_size(image.size, wish)
            expect(image.width * image.height + (CONTROL_PIXELS if wish.control else 0))
            make = _picture if wish.kind == "picture" else _mask
            return make(image, file, wish)
    except DAMAGE as error:
        raise not_a_picture() from error


def _check_size(size: tuple[int, int], wish: Wish) -> None:
    if max(size) > MAX_OPENED_SIDE or size[0] * size[1] > wish.max_opened_pixels:
        raise InvalidImageError(
            f"May have at most {wish.max_opened_pixels} pixels and {MAX_OPENED_SIDE} on a side; "
            "send it smaller."
        )


def _picture(image: Image.Image, file: PictureFile, wish: Wish) -> Decoded:
    before = image.size
    look = seen(image, file, _fitting(before, wish.max_pixels))
    kept = look.on(wish.background)
    if wish.fit:
        kept = fitted(kept, wish.fit)
    if wish.control:
        from darkroom.control_maps import control_map

        kept = control_map(kept, wish.control.preprocess, wish.control.size or kept.size)
    return _decoded(kept, before, look, look.notes)


def _mask(image: Image.Image, file: PictureFile, wish: Wish) -> Decoded:
    before = image.size
    look = seen(image, file, before)
    shape, notes = _shape(look, file, wish.kind)
    if wish.fit:
        shape = fitted(shape, wish.fit)
    return _decoded(resized(shape, _fitting(shape.size, wish.max_pixels)), before, look, notes)


def _shape(look: Seen, file: PictureFile, kind: Kind) -> tuple[Image.Image, tuple[str, ...]]:
    """L, white where to repaint, and what to tell of it."""
    if kind == "alpha mask":
        return alpha_mask(look), ()
    if kind == "mask":
        return mask(look, is_lossy=file.is_lossy)
    drawn = drawn_mask(look)
    return (ImageChops.invert(drawn) if kind == "inverted drawn mask" else drawn), ()


def _fitting(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The largest size of the same shape that may be kept."""
    scale = min(1.0, (max_pixels / (size[0] * size[1])) ** 0.5, MAX_SIDE / max(size))
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _decoded(
    kept: Image.Image, before: tuple[int, int], look: Seen, notes: tuple[str, ...]
) -> Decoded:
    png = io.BytesIO()
    kept.info = {}
    kept.save(png, "PNG", compress_level=1)
    return Decoded(png.getvalue(), kept.size, before[::-1] if look.is_turned else before, notes)
