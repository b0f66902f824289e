"""Pixels to the bytes of a PNG, JPEG or WebP file that says how it was made; called from threads of
the worker and in decoder processes, imports little, knows no jobs."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from darkroom.errors import UnsupportedError
from darkroom.marks import XMP_CHUNK, Provenance, exif, text_chunks, xmp

# Level 6 takes three times as long and saves a twentieth on photographs.
PNG_COMPRESSION = 3

FINE_COLOUR = 90
"""From this quality on a JPEG keeps colour in full resolution (4:4:4)."""

JPEG_SEGMENT = 65533
"""Bytes that a marker of a JPEG file can hold."""
JPEG_XMP = JPEG_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")

MAX_SIDE = {"jpeg": 65535, "webp": 16383}

_PARTS = {
    "infotext": "the settings as A1111 writes them",
    "prompt": "the prompt as IPTC defines it",
    "exact": "the request, so that the picture cannot be replayed from it",
}


@dataclass(frozen=True)
class Encoded:
    """A file, and what of its metadata had to be left out, as sentences."""

    data: bytes
    warnings: tuple[str, ...] = ()


def encode(
    image: Image.Image, image_format: str, quality: int, provenance: Provenance | None
) -> Encoded:
    """The file of a picture (RGB, or RGBA in a png or webp) in a format, png, jpeg or webp, holding
    `provenance`, and nothing besides pixels where that is None.

    Raises UnsupportedError for a picture that the format is too small for."""
    most = MAX_SIDE.get(image_format)
    if most and max(image.size) > most:
        raise UnsupportedError(f"A {image_format} file has at most {most} pixels on a side.")
    warnings: list[str] = []
    options = _OPTIONS[image_format](quality, provenance, warnings)
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return Encoded(out.getvalue(), tuple(warnings))


def _png(_: int, provenance: Provenance | None, __: list[str]) -> dict[str, Any]:
    """Text as tEXt, which every reader knows, where Latin-1 holds it, else as iTXt."""
    chunks = PngInfo()
    if provenance is not None:
        for name, text in text_chunks(provenance).items():
            chunks.add_text(name, text)
        chunks.add_itxt(XMP_CHUNK, xmp(provenance).decode())
    return {"pnginfo": chunks, "compress_level": PNG_COMPRESSION}


def _jpeg(quality: int, provenance: Provenance | None, warnings: list[str]) -> dict[str, Any]:
    sampling = "4:4:4" if quality >= FINE_COLOUR else "4:2:0"
    # Without `optimize`, which saves a twentieth but fails on pictures that are all noise.
    options = {"quality": quality, "subsampling": sampling}
    if provenance is None:
        return options
    held = _shorten(provenance)
    if lost := [what for part, what in _PARTS.items() if _is_lost(part, provenance, held)]:
        warnings.append(
            f"Left out of the JPEG file, which holds little metadata: {', '.join(lost)}."
        )
    return options | {"exif": exif(held), "xmp": xmp(held, with_request=True)}


def _shorten(provenance: Provenance) -> Provenance:
    """What of it a JPEG file can hold. The request also has the prompt, so that is left out first;
    where the request is still too long there may be room for the prompt."""
    if len(exif(provenance)) > JPEG_SEGMENT:
        provenance = replace(provenance, infotext=None)
    for shorter in (provenance, replace(provenance, prompt=None), replace(provenance, exact=None)):
        if len(xmp(shorter, with_request=True)) <= JPEG_XMP:
            return shorter
    return replace(provenance, prompt=None, exact=None)


def _is_lost(part: str, provenance: Provenance, held: Provenance) -> bool:
    return bool(getattr(provenance, part) != getattr(held, part))


def _webp(quality: int, provenance: Provenance | None, _: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {"quality": quality}
    if provenance is None:
        return options
    return options | {"exif": exif(provenance), "xmp": xmp(provenance, with_request=True)}


_OPTIONS: Mapping[str, Callable[[int, Provenance | None, list[str]], dict[str, Any]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "webp": _webp,
}
"""What Pillow's writer of each format is told."""
