"""Pictures that clients send: decoded under strict limits and stored anew; in the service only.

Nothing of the client's own bytes is kept: a worker opens only PNGs that were written here.
"""

import base64
import binascii
import io
import re
import struct
import threading
import zlib
from dataclasses import dataclass, replace

from PIL import Image, ImageOps

from darkroom.draft import Draft
from darkroom.errors import (
    FieldError,
    InvalidImageError,
    InvalidRequestError,
    StoreUnavailableError,
)
from darkroom.field_errors import pointer
from darkroom.images import ImageStore
from darkroom.input_images import IMAGE, Place, input_images, with_images

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SIDE = 16_384
DECODED_AT_ONCE = 2
"""A picture takes up to 12 bytes per pixel while it is decoded; this many may do so."""
MAX_SCANS = 100
"""Progressive JPEGs have about ten."""
MAX_SEGMENTS = 10_000
"""Profiles and notes are cut into pieces of 64 KiB: even 20 MB of them are some hundreds."""

_JPEG = b"\xff\xd8\xff"
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd9-\xfe]")
"""All but what may stand anywhere: stuffed zeros, fill bytes, restarts, a start of image."""
_FIRST_WITH_LENGTH = 0xC0

_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,30};base64,", re.ASCII | re.IGNORECASE)

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_FAULTS = (
    OSError,  # truncated, or no picture at all: UnidentifiedImageError is one
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,  # text or profile chunks that inflate without end
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    *_BOMBS,
)


@dataclass(frozen=True)
class Stored:
    """An input picture in the store."""

    id: str
    size: tuple[int, int]


class InputImages:
    """Takes in the pictures of requests. Safe to use from several threads."""

    def __init__(self, store: ImageStore, max_pixels: int) -> None:
        self._store = store
        self._max_pixels = max_pixels
        self._decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)

    def take(self, draft: Draft) -> tuple[Draft, tuple[int, int] | None]:
        """The draft with each picture replaced by `file_<sha256>`, and the size of `image`.

        Raises InvalidRequestError that points at the field."""
        stored: dict[Place, Stored] = {}
        for place, text in input_images(draft.values).items():
            try:
                stored[place] = self._store_picture(text)
            except InvalidImageError as error:
                raise InvalidRequestError(
                    [FieldError(pointer(*place.path), str(error), error.code)]
                ) from error
        ids = {place: image.id for place, image in stored.items()}
        taken = replace(draft, values=with_images(draft.values, ids))
        return taken, stored[IMAGE].size if IMAGE in stored else None

    def _store_picture(self, text: str) -> Stored:
        if text.startswith("file_"):
            return Stored(text, self._size(text))
        data = decode_base64(text)
        with self._decoding:
            png, size = reencode(data, self._max_pixels)
        return Stored(self._store.put_input(png), size)

    def _size(self, input_id: str) -> tuple[int, int]:
        with self._store.open_input(input_id) as file:
            try:
                with Image.open(file, formats=["PNG"]) as image:
                    return image.size
            except OSError as error:
                raise StoreUnavailableError(f"{input_id} cannot be read: {error}") from error


def decode_base64(text: str) -> bytes:
    """The bytes of base64 or of a base64 data URI. Raises InvalidImageError."""
    if text[:5].lower() == "data:":
        prefix = _DATA_URI.match(text)
        if prefix is None:
            raise InvalidImageError("A data URI must begin with data:image/...;base64, .")
        text = text[prefix.end() :]
    try:
        return base64.b64decode(text.translate(_NO_LINE_BREAKS), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImageError(
            "Must be base64, a base64 data URI, or file_<sha256> of an earlier input."
        ) from error


_NO_LINE_BREAKS = str.maketrans("", "", "\r\n")


def reencode(data: bytes, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """A picture as a PNG of its first frame, upright, RGB, without any metadata, and its size.

    Raises InvalidImageError. Size and scans are checked before a pixel is decoded."""
    if data.startswith(_JPEG):
        _check_scans(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, max_pixels)
            image.load()
            upright = ImageOps.exif_transpose(image)
            plain = _rgb(upright)
    except _FAULTS as error:
        if isinstance(error, _BOMBS):
            raise _too_large(max_pixels) from error
        raise InvalidImageError(
            f"Not a complete, undamaged picture in one of the formats {', '.join(FORMATS)}."
        ) from error
    plain.info = {}
    png = io.BytesIO()
    plain.save(png, "PNG", compress_level=1)
    return png.getvalue(), plain.size


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG of many scans: each can be a few bytes and walks over all pixels.

    Goes from marker to marker as libjpeg does: neither into a segment, where a thumbnail may lie,
    nor beyond the end of the image."""
    scans, at = 0, 0
    for _ in range(MAX_SEGMENTS):
        marker = _MARKER.search(data, at)
        if marker is None or marker[0] == _END_OF_IMAGE:
            return
        scans += marker[0] == _START_OF_SCAN
        if scans > MAX_SCANS:
            break
        at = marker.end()
        if marker[0][1] >= _FIRST_WITH_LENGTH:
            at += int.from_bytes(data[at : at + 2])
    raise InvalidImageError(
        f"A JPEG may have at most {MAX_SCANS} scans and {MAX_SEGMENTS} segments; save it anew, "
        "not progressive or as a PNG."
    )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would clip, not scale
        image = image.point(lambda value: value / 256).convert("L")
    return image.convert("RGB")


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if max(size) > MAX_SIDE or size[0] * size[1] > max_pixels:
        raise _too_large(max_pixels)


def _too_large(max_pixels: int) -> InvalidImageError:
    return InvalidImageError(
        f"May have at most {max_pixels} pixels and {MAX_SIDE} on a side; send it smaller."
    )
