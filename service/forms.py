"""Forms with files (multipart/form-data, RFC 7578), out of a body that was read; service only."""

import re
from dataclasses import dataclass

from darkroom.errors import FieldError, InvalidRequestError, MalformedRequestError
from darkroom.field_errors import pointer

FIELD = "file"
"""What the field with the file is called."""
MOST_PARTS = 64
LONGEST_HEAD = 8 * 2**10
"""Bytes of what stands before the content of a part."""

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.ASCII | re.IGNORECASE)
_FILE_NAME = re.compile(rb"^content-disposition:[^\r\n]*?;[ \t]*filename\*?=", re.I | re.M)
_NAME = re.compile(rb'^content-disposition:[^\r\n]*?;[ \t]*name="?([^"\r\n;]*)"?', re.I | re.M)


@dataclass(frozen=True)
class Part:
    """One field of a form."""

    name: str
    content: bytes
    is_file: bool = False
    """Whether it came as a file; what its file was called does not matter."""

    @property
    def text(self) -> str:
        """Raises MalformedRequestError for what is no text in UTF-8."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            detail = f"The field {self.name[:50]!r} is no text in UTF-8."
            raise MalformedRequestError(detail) from None


def is_form(content_type: str) -> bool:
    """Whether a body of this type is one."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def file_in(body: bytes, content_type: str) -> bytes:
    """The content of the only field, `file`. Raises MalformedRequestError; InvalidRequestError for
    other fields and for more than one file."""
    parts = parts_in(body, content_type)
    if faults := [_unknown(part.name) for part in parts if part.name != FIELD]:
        raise InvalidRequestError(faults)
    if len(parts) != 1:
        code, detail = ("duplicate", "Is given more than once.") if parts else _MISSING
        raise InvalidRequestError([FieldError(pointer(FIELD), detail, code)])
    return parts[0].content


_MISSING = ("missing", f"This field is required: a form has the picture in a field {FIELD!r}.")


def _unknown(name: str) -> FieldError:
    told = f"There is no such field; a form has the picture in a field {FIELD!r}, and nothing else."
    return FieldError(pointer(name), told, "unknown_field")


def parts_in(body: bytes, content_type: str) -> list[Part]:
    """All fields of a form, in the order they came. Raises MalformedRequestError."""
    found = _BOUNDARY.search(content_type)
    if not found:
        raise MalformedRequestError("The Content-Type of the form names no boundary.")
    delimiter = b"\r\n--" + (found[1] or found[2]).encode("ascii", "replace")
    _, *pieces = (b"\r\n" + body).split(delimiter, MOST_PARTS + 1)
    parts: list[Part] = []
    for piece in pieces:
        if piece.startswith(b"--"):  # what follows the last part is none
            return parts
        if len(parts) == MOST_PARTS:
            raise MalformedRequestError(f"The form has more than {MOST_PARTS} fields.")
        parts.append(_part(piece))
    raise MalformedRequestError("The form does not end with its boundary: it was cut off.")


def _part(piece: bytes) -> Part:
    blank, _, rest = piece.partition(b"\r\n")
    head, ends, _ = rest[: LONGEST_HEAD + 4].partition(b"\r\n\r\n")
    named = _NAME.search(head)
    if blank.strip(b" \t") or not ends or not named:
        raise MalformedRequestError("A field of the form has no name, or a head without an end.")
    name = named[1].decode(errors="replace")
    return Part(name, rest[len(head) + len(ends) :], bool(_FILE_NAME.search(head)))
