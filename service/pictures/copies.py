"""A finished picture in another format, or smaller, that says as much of itself; in a decoder
process."""

import io
from collections.abc import Callable

from PIL import Image

from darkroom.encoding import encode
from darkroom.errors import InvalidImageError
from darkroom.marks import marks_of
from service.pictures.files import DAMAGE, FORMATS
from service.pictures.fitting import cropped
from service.pictures.messages import CopyWish

QUALITY = 90
"""Of jpeg and webp."""


def copied(data: bytes, wish: CopyWish, expect: Callable[[int], None] = lambda _: None) -> bytes:
    """The file, itself where it is as it should be. `expect` is told how many pixels are about to
    be worked on. Raises InvalidImageError, UnsupportedError for a picture that the format is too
    small for."""
    Image.MAX_IMAGE_PIXELS = None  # a worker made it, within the limits of its model
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            is_small = not wish.size and image.width <= (wish.max_width or 0)
            if image.format == wish.format.upper() and is_small:
                return data
            made = wish.size or image.size
            expect(image.width * image.height + made[0] * made[1])  # decoded, and encoded again
            pixels = _fitting(image, wish)
            provenance = marks_of(image).provenance
    except DAMAGE as error:
        raise InvalidImageError("The stored picture is damaged.") from error
    return encode(pixels, wish.format, QUALITY, provenance).data


def _fitting(image: Image.Image, wish: CopyWish) -> Image.Image:
    """Its pixels, no wider than may be, and as the format can hold them."""
    pixels: Image.Image = image
    if wish.size:
        pixels = cropped(image, wish.size)
    elif wish.max_width and wish.max_width < image.width:
        height = max(1, round(image.height * wish.max_width / image.width))
        image.draft(image.mode, (wish.max_width, height))  # a JPEG is decoded to about that size
        pixels = image.resize((wish.max_width, height), Image.Resampling.LANCZOS, reducing_gap=2)
    if wish.format == "jpeg" and pixels.mode != "RGB":
        clear = pixels.convert("RGBA")
        pixels = Image.new("RGB", clear.size, "#ffffff")
        pixels.paste(clear, mask=clear.getchannel("A"))
    pixels = pixels.copy()
    pixels.info = {}  # or Pillow would write what stands there beside ours
    return pixels
