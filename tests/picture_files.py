"""Files of pictures, as clients send them."""

import base64
import io
import random
from urllib.parse import quote_from_bytes

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from service.pictures.messages import Wish

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_STORED = {
    1: lambda seen: seen,
    3: lambda seen: seen[::-1, ::-1],
    6: lambda seen: np.rot90(seen),
    8: lambda seen: np.rot90(seen, -1),
}
"""How a camera stores what is seen, by its EXIF tag."""


def encoded(image: Image.Image, fmt: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def noise(size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1]))


def wish(**given: object) -> Wish:
    usual = {
        "kind": "picture",
        "is_text": False,
        "background": "#ffffff",
        "max_pixels": 4096,
        "max_opened_pixels": 16_000_000,
    }
    return Wish(**usual | given)


def looks(*, grey: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Small pictures as people see them: RGBA of a few colours, grey ones in masks."""
    channel = st.sampled_from([0, 1, 90, 200, 254, 255])
    opaque, half = st.just(255), st.sampled_from([0, 120, 255])
    colour = channel.map(lambda value: (value,) * 3) if grey else st.tuples(*[channel] * 3)
    sides = st.tuples(st.integers(1, 5), st.integers(1, 5))

    def of(size: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
        pixel = st.tuples(colour, opaque) | st.tuples(colour, half)
        pixels = st.lists(pixel, min_size=size[0] * size[1], max_size=size[0] * size[1])
        return pixels.map(
            lambda all_: np.array([(*rgb, a) for rgb, a in all_], np.uint8).reshape(*size, 4)
        )

    return sides.flatmap(of)


@st.composite
def files_of(draw: st.DrawFn, seen: np.ndarray) -> bytes:
    """A file, of those that programs write, that looks as `seen`."""
    pixels = seen.copy()
    hidden = seen[..., 3] == 0
    pixels[hidden, :3] = draw(st.tuples(*[st.integers(0, 255)] * 3))
    turn = draw(st.sampled_from(sorted(_STORED)))
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(np.ascontiguousarray(_STORED[turn](pixels)))
    image = draw(st.sampled_from(_same_pixels(image)))
    notes = draw(st.sampled_from([{}, {"icc_profile": _SRGB}]))
    if image.mode in ("RGB", "RGBA") and draw(st.booleans()):
        return encoded(image, "WEBP", lossless=True, exact=True, exif=exif, **notes)
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", draw(st.text("ab\n", max_size=9)))
    level = draw(st.integers(0, 9))
    if image.mode == "I;16":
        notes = {}
    return encoded(image, exif=exif, pnginfo=text, compress_level=level, **notes)


def _same_pixels(image: Image.Image) -> list[Image.Image]:
    """An RGBA picture in each mode that holds all of it."""
    alike = [image]
    pixels = np.asarray(image)
    is_grey = (pixels[..., :3] == pixels[..., :1]).all()
    if is_grey:
        alike.append(image.convert("LA"))
    if (pixels[..., 3] == 255).all():
        alike += [image.convert("RGB"), _with_palette(pixels)]
        if is_grey:
            grey = image.convert("L")
            alike += [grey, Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)]
            if set(np.unique(pixels[..., 0])) <= {0, 255}:
                alike.append(grey.convert("1"))
    return alike


def _with_palette(pixels: np.ndarray) -> Image.Image:
    colours, index = np.unique(pixels[..., :3].reshape(-1, 3), axis=0, return_inverse=True)
    image = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


@st.composite
def texts_of(draw: st.DrawFn, data: bytes) -> str:
    """Base64 or a data URI of `data`, as programs and people write them."""
    unseen = st.sampled_from(["", " ", "\n", "\ufeff", "\u200b", "\xa0", "\r\n\t"])
    if draw(st.booleans()) and draw(st.booleans()):
        return draw(unseen) + "data:image/png," + quote_from_bytes(data) + draw(unseen)
    digits = draw(st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))(data).decode()
    digits = digits.rstrip("=") if draw(st.booleans()) else digits
    width = draw(st.sampled_from([4, 64, 76, len(digits)]))
    lines = (digits[at : at + width] for at in range(0, len(digits), width))
    header = draw(st.sampled_from(["", "data:;base64,", "DATA:image/x;name=a.png;BASE64, "]))
    return (
        draw(unseen)
        + header
        + draw(st.sampled_from(["\n", "\r\n", " "])).join(lines)
        + draw(unseen)
    )
