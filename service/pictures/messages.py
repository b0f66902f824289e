"""What a service and its decoder processes say to one another, over two pipes; knows no pictures.

A message has two parts, JSON and bytes, with the lengths of both before them.
"""

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, Literal

from darkroom.errors import InvalidImageError

LENGTHS = struct.Struct(">II")
"""How long the two parts of a message are, in bytes."""
READY = b"."
"""What a decoder says once it has started."""
MOST_S = 10.0
"""How long a decoder may take over one picture."""


@dataclass(frozen=True)
class Wish:
    """What shall become of a file."""

    kind: Literal["picture", "mask"]
    is_text: bool
    """Whether the bytes are those of a text, base64 or a data URI."""
    background: str
    """`#rrggbb`: what a picture is flattened on."""
    max_pixels: int
    """What is larger is shrunk."""
    max_opened_pixels: int
    """What is larger is refused."""


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


def wish_message(wish: Wish, data: bytes) -> tuple[bytes, bytes]:
    """The two parts to send, the first with the lengths."""
    return _message(asdict(wish), data)


def read_wish(text: bytes) -> Wish:
    return Wish(**json.loads(text))


def decoded_message(decoded: Decoded) -> tuple[bytes, bytes]:
    head = {"size": decoded.size, "was": decoded.was, "notes": decoded.notes}
    return _message(head, decoded.png)


def error_message(sentence: str) -> tuple[bytes, bytes]:
    return _message({"error": sentence}, b"")


def read_decoded(text: bytes, png: bytes) -> Decoded:
    """Raises InvalidImageError where that is the answer."""
    head = json.loads(text)
    if "error" in head:
        raise InvalidImageError(head["error"])
    return Decoded(png, tuple(head["size"]), tuple(head["was"]), tuple(head["notes"]))


def _message(head: dict[str, Any], data: bytes) -> tuple[bytes, bytes]:
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), len(data)) + text, data
