"""What a picture that a client sends says of how it was made; in a decoder process, as it may be
anything."""

import io
import zlib
from typing import Any

from PIL import Image

from darkroom.marks import (
    EXACT_CHUNK,
    INFOTEXT_CHUNK,
    WORKFLOW_CHUNK,
    XMP_CHUNK,
    Marks,
    marks_in,
    marks_of,
)
from service.pictures.files import DAMAGE, FORMATS, chunks, not_a_picture, opened

LONGEST_TEXT = 2**20
"""Bytes of one text that is read, unpacked; one that is longer is left out."""

_READ = frozenset({EXACT_CHUNK, INFOTEXT_CHUNK, WORKFLOW_CHUNK, XMP_CHUNK})


def look(data: bytes) -> dict[str, Any]:
    """Its format and size, and what it says; nothing of its pixels is decoded. Raises
    InvalidImageError."""
    file = opened(data)
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(file.data), formats=FORMATS) as image:
            is_png = image.format == "PNG"
            marks = _of_png(data) if is_png else marks_of(image)
            size, image_format = image.size, str(image.format).lower()
    except DAMAGE as error:
        raise not_a_picture() from error
    return {
        "format": image_format,
        "width": size[0],
        "height": size[1],
        "infotext": _short(marks.infotext),
        "exact": _short(marks.exact),
        "workflow": _short(marks.workflow),
        "is_made_by_a_model": marks.is_made_by_a_model,
        "software": marks.software,
        "model": marks.model,
    }


def _short(text: str | None) -> str | None:
    return text if text is not None and len(text) <= LONGEST_TEXT else None


def _of_png(data: bytes) -> Marks:
    """What its chunks say, wherever they stand; the first of a name counts."""
    texts: dict[str, str] = {}
    for kind, content in chunks(data):
        name, ends, rest = content.partition(b"\0")
        told = name.decode("latin-1")
        if kind in _TEXTS and ends and told in _READ and told not in texts:
            text = _TEXTS[kind](rest)
            texts |= {} if text is None else {told: text}
    return marks_in(texts, texts.get(XMP_CHUNK, "").encode(), None)


def _plain(rest: bytes) -> str | None:
    return rest.decode("latin-1") if len(rest) <= LONGEST_TEXT else None


def _packed(rest: bytes) -> str | None:
    """After a byte that names the method of packing."""
    unpacked = _unpacked(rest[1:])
    return None if unpacked is None else unpacked.decode("latin-1")


def _international(rest: bytes) -> str | None:
    """After whether it is packed, how, a language and a translation of the name, in UTF-8."""
    is_packed = rest[:1] == b"\1"
    *_, text = rest[2:].split(b"\0", 2)
    content = _unpacked(text) if is_packed else text
    if content is None or len(content) > LONGEST_TEXT:
        return None
    return content.decode(errors="replace")


def _unpacked(packed: bytes) -> bytes | None:
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(packed, LONGEST_TEXT + 1)
    except zlib.error:
        return None
    return content if unpacking.eof and len(content) <= LONGEST_TEXT else None


_TEXTS = {b"tEXt": _plain, b"zTXt": _packed, b"iTXt": _international}
