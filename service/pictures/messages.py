"""What a service and its decoder processes say to one another, over two pipes; knows no pictures.

A message has two parts, JSON and bytes, with the lengths of both before them.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from darkroom.errors import InvalidImageError

LENGTHS = struct.Struct(">II")
"""How long the two parts of a message are, in bytes."""
READY = b"."
"""What a decoder says once it has started."""
MOST_S = 10.0
"""How long a decoder may take over one picture."""


Kind = Literal["picture", "mask", "alpha mask", "drawn mask", "inverted drawn mask"]
"""A mask is read by its colours or its transparency, whichever it uses; an alpha mask by that
alone. A drawn mask is repainted where it is white or, if it has clear parts, where it is opaque; an
inverted one where it is not."""


@dataclass(frozen=True)
class Wish:
    """What shall become of a file: a picture as it is kept."""

    kind: Kind
    is_text: bool
    """Whether the bytes are those of a text, base64 or a data URI."""
    background: str
    """`#rrggbb`: what a picture is flattened on."""
    max_pixels: int
    """What is larger is shrunk."""
    max_opened_pixels: int
    """What is larger is refused."""
    control: "ControlMap | None" = None
    """The map to make of a picture; None: none."""
    fit: "Fit | None" = None
    """A size to bring it to; None: it keeps its own."""


@dataclass(frozen=True)
class ControlMap:
    """What a ControlNet is to see of a picture."""

    preprocess: str
    size: tuple[int, int] | None
    """None: as large as the picture."""


@dataclass(frozen=True)
class Fit:
    """A size that a picture is to have, whatever its shape."""

    size: tuple[int, int]
    how: Literal["crop", "fill"]
    """crop: what lies beyond is cut off, the same on both sides; fill: all of it is seen, and the
    edges are drawn out to fill the rest."""


@dataclass(frozen=True)
class Reading:
    """What becomes of the picture that a job begins with, and of its mask."""

    mask: Kind = "mask"
    """As what a mask is read."""
    fit: Fit | None = None
    """The size that both are brought to."""


AS_SENT = Reading()


@dataclass(frozen=True)
class CopyWish:
    """A copy of a finished picture, in a format and no wider than so many pixels."""

    format: str
    """png, jpeg or webp."""
    max_width: int | None
    size: tuple[int, int] | None = None
    """In place of that: of just this size, cut to its shape."""


@dataclass(frozen=True)
class MarksWish:
    """What a file says of itself, whoever wrote it."""

    is_text: bool = False
    """Whether the bytes are those of a text, base64 or a data URI."""


AnyWish = Wish | CopyWish | MarksWish

_WISHES: Mapping[str, type[AnyWish]] = {"keep": Wish, "copy": CopyWish, "marks": MarksWish}


@dataclass(frozen=True)
class Decoded:
    """A picture as it is kept."""

    png: bytes
    """RGB, a mask L; without any metadata."""
    size: tuple[int, int]
    was: tuple[int, int]
    """Its size before it was shrunk, upright."""
    notes: tuple[str, ...]
    """What to tell about it."""


def wish_message(wish: AnyWish, data: bytes) -> tuple[bytes, bytes]:
    """The two parts to send, the first with the lengths."""
    (name,) = (name for name, kind in _WISHES.items() if isinstance(wish, kind))
    return _message({"wish": name, **asdict(wish)}, data)


def read_wish(text: bytes) -> AnyWish:
    values = json.loads(text)
    if control := values.get("control"):
        size = control["size"] and tuple(control["size"])
        values["control"] = ControlMap(control["preprocess"], size)
    if fit := values.get("fit"):
        values["fit"] = Fit(tuple(fit["size"]), fit["how"])
    if size := values.get("size"):
        values["size"] = tuple(size)
    return _WISHES[values.pop("wish")](**values)


def decoded_message(decoded: Decoded) -> tuple[bytes, bytes]:
    head = {"size": decoded.size, "was": decoded.was, "notes": decoded.notes}
    return _message(head, decoded.png)


def answer_message(head: Mapping[str, Any], data: bytes = b"") -> tuple[bytes, bytes]:
    return _message(head, data)


def error_message(sentence: str) -> tuple[bytes, bytes]:
    return _message({"error": sentence}, b"")


def read_decoded(text: bytes, png: bytes) -> Decoded:
    """Raises InvalidImageError where that is the answer."""
    head = read_answer(text)
    return Decoded(png, tuple(head["size"]), tuple(head["was"]), tuple(head["notes"]))


def read_answer(text: bytes) -> dict[str, Any]:
    """Raises InvalidImageError where that is the answer."""
    head: dict[str, Any] = json.loads(text)
    if "error" in head:
        raise InvalidImageError(head["error"])
    return head


def _message(head: Mapping[str, Any], data: bytes) -> tuple[bytes, bytes]:
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(data)) + text, data
