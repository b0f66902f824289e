"""What the file of a picture is made of, before anything is decoded; in a decoder process."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from darkroom.errors import InvalidImageError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SCANS = 100
"""Progressive JPEGs have about ten."""
MAX_SEGMENTS = 10_000
"""Profiles and notes are cut into pieces of 64 KiB: even 20 MB of them are some hundreds."""
MAX_CHUNKS = 50_000
"""Pixels come in chunks of 8 KiB from libpng, and of 2 KiB at the least from what else was seen."""
MAX_WEBP_CHUNKS = 100
"""Before the first frame there are four at the most, by the standard."""
MAX_PROFILE = 8 * 2**20
"""Bytes of a colour profile; those of printers have two million."""

DAMAGE = (
    OSError,  # truncated, or no picture at all: UnidentifiedImageError is one
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)
"""What Pillow raises for broken files."""

_JPEG, _PNG, _RIFF, _WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"WEBP"

_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd9-\xfe]")
"""All but what may stand anywhere: stuffed zeros, fill bytes, restarts, a start of image."""
_FIRST_WITH_LENGTH = 0xC0

_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"iCCP"})
_GREY, _COLOUR = 0, 2
_FRAME_HEAD = 16
"""Bytes of an animation's frame before its own chunks."""


@dataclass(frozen=True)
class PictureFile:
    """A file that may be decoded, without what says nothing of how it looks."""

    data: bytes
    profile: bytes | None = None
    """A PNG's ICC profile, empty if it cannot be read; those of others Pillow reads."""
    clear: tuple[int, ...] | None = None
    """The one colour of a PNG without palette that is transparent, in 8 bits a channel, or in 16
    for a grey of 16 bits."""
    is_lossy: bool = False
    """Whether its pixels are only nearly those that were written."""


def opened(data: bytes) -> PictureFile:
    """Raises InvalidImageError for other formats and for what would take long to go through."""
    if not data:
        raise InvalidImageError("Is empty; send a picture, or leave the field out.")
    if data.startswith(_JPEG):
        _check_scans(data)
        return PictureFile(data, is_lossy=True)
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        return PictureFile(data, is_lossy=_is_lossy(data))
    raise not_a_picture()


def not_a_picture() -> InvalidImageError:
    return InvalidImageError(
        f"Not a complete, undamaged picture in one of the formats {', '.join(FORMATS)}."
    )


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


def _is_lossy(data: bytes) -> bool:
    """Of a WebP (RFC 9649), by the kind of its first frame."""
    at = 12
    for _ in range(MAX_WEBP_CHUNKS):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind in (b"VP8L", b"VP8 ", b""):
            return kind != b"VP8L"
        at += 8 + (_FRAME_HEAD if kind == b"ANMF" else length + length % 2)
    return True


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kinds of a PNG's chunks and what they hold, up to its end or where it was cut off.

    Raises InvalidImageError where there are too many."""
    for kind, content, _ in _chunks(data):
        yield kind, content


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Of each its kind, what it holds, and all of it."""
    at = len(_PNG)
    for _ in range(MAX_CHUNKS):
        if at >= len(data):
            return
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4])
        yield kind, data[at + 8 : end - 4], data[at:end]
        if kind == b"IEND":
            return
        at = end
    raise InvalidImageError(f"A PNG may have at most {MAX_CHUNKS} chunks; save it anew.")


def _png(data: bytes) -> PictureFile:
    """A PNG without notes, which may unpack to anything, and what it says of colours."""
    kept, found = [_PNG], dict[bytes, bytes]()
    for kind, content, whole in _chunks(data):
        if kind in _KEPT:
            found.setdefault(kind, content if kind != b"IDAT" else b"")
            if kind not in (b"iCCP", b"tRNS"):
                kept.append(whole)
    return _with_colours(kept, found)


def _with_colours(kept: list[bytes], found: dict[bytes, bytes]) -> PictureFile:
    depth, kind = found.get(b"IHDR", b"")[8:10].ljust(2, b"\0")
    transparent = found.get(b"tRNS", b"")
    clear, palette = None, b""
    if kind in (_GREY, _COLOUR):
        clear = _colour(transparent, kind, depth)
    elif transparent:
        palette = _chunk(b"tRNS", transparent)
    profile = _profile(found[b"iCCP"]) if b"iCCP" in found else None
    return PictureFile(_before_pixels(kept, palette), profile, clear)


def _colour(key: bytes, kind: int, depth: int) -> tuple[int, ...] | None:
    """Pillow reads fewer bits than 8 as 8, and a colour of 16 as its upper 8."""
    if depth not in (1, 2, 4, 8, 16) or len(key) < (channels := 1 if kind == _GREY else 3) * 2:
        return None
    values = tuple(int.from_bytes(key[2 * each : 2 * each + 2]) for each in range(channels))
    if depth == 16:
        return values if kind == _GREY else tuple(value >> 8 for value in values)
    highest = 2**depth - 1
    return tuple((value & highest) * 255 // highest for value in values)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return len(content).to_bytes(4) + kind + content + check.to_bytes(4)


def _before_pixels(kept: list[bytes], chunk: bytes) -> bytes:
    pixels = (at for at, each in enumerate(kept) if each[4:8] == b"IDAT")
    at = next(pixels, len(kept))
    return b"".join([*kept[:at], chunk, *kept[at:]])


def _profile(chunk: bytes) -> bytes:
    """What follows a name, a zero and the method of compression, which is zlib; empty where it
    cannot be unpacked or is no profile by its size."""
    _, _, packed = chunk.partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if unpacking.eof else b""
