"""Bodies as clients write them: JSON with pictures in it, read under limits; in the service only.

Whatever is sent, reading it costs little: long strings, which pictures are, cost next to nothing,
and the rest is counted before anything is made of it.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request
from starlette.exceptions import HTTPException

from darkroom.errors import (
    FieldError,
    InvalidRequestError,
    MalformedRequestError,
    PayloadTooLargeError,
)
from darkroom.field_errors import pointer
from darkroom.input_images import PICTURE_FIELDS
from service.preferences import charset

T = TypeVar("T")
Path = tuple[str, ...]
"""Names and indexes that lead from the body to a value."""

LARGE_BYTES = 64 * 2**10
"""From here on a body holds pictures, or is meant to keep the service busy: reading and checking it
takes longer than handing it to a thread."""
LONG_BYTES = 16 * 2**10
"""A string that is longer is not counted before it is read: most are pictures."""
MOST_ENTRIES = 100
"""Of one object or list; no field takes as many."""
MOST_VALUES = 5000
"""In all objects and lists together; the fullest request has some hundreds."""
DEEPEST = 8
"""Objects and lists in one another, the body included; a request has four."""
LONGEST_NAME = 100
"""Characters of a field's name, and of the name of an entry of `metadata`."""
LONGEST_NUMBER = 100
"""Digits and signs."""
LARGEST_EXACT = 2**53
"""Up to here each whole number has a float of its own (RFC 8259, section 6)."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ESCAPE = b"\\"
_HINTS = {
    "Expecting property name enclosed in double quotes": 'a name in "" should stand there',
    "Illegal trailing comma before end of object": "nothing may follow that comma",
    "Illegal trailing comma before end of array": "nothing may follow that comma",
    "Expecting ',' delimiter": "a comma or a closing bracket should stand there",
    "Expecting ':' delimiter": "a colon should stand there",
    "Expecting value": "a value should stand there",
    "Extra data": "nothing should follow the object",
    "Invalid control character at": "a line break within text is written \\n, a tab \\t",
    "Invalid \\escape": "a backslash within text is written \\\\",
    "Invalid \\uXXXX escape": "\\u wants four hexadecimal digits",
    "Unterminated string starting at": "the text that begins there does not end",
}


def require_json(http: Request) -> None:
    """Refuse what a form or another site's page can send unasked (CSRF), and what is no JSON.

    Raises HTTPException 415."""
    given = http.headers.get("content-type", "")
    declared = given.partition(";")[0].strip().lower()
    is_json = declared == "application/json" or (
        declared.startswith("application/") and declared.endswith("+json")
    )
    from_a_program = not declared and "origin" not in http.headers
    if not is_json and not from_a_program:
        raise HTTPException(415, "Send JSON with the header 'Content-Type: application/json'.")
    if charset(given) not in ("utf-8", "utf8", "us-ascii"):
        raise HTTPException(415, "JSON is sent in UTF-8; leave the charset out of Content-Type.")


async def read_body(
    http: Request, most_text: int, pictures: Collection[str] = PICTURE_FIELDS
) -> tuple[dict[str, Any], int]:
    """The JSON object in the body of a request, and how many bytes it had. `most_text`: how many
    of them may be no pictures, which stand in the fields `pictures`.

    Raises what `read_object` does, and HTTPException for a compressed body (415)."""
    require_uncompressed(http)
    raw = await http.body()
    body = await in_thread_if_large(len(raw), lambda: read_object(raw, most_text, pictures))
    return body, len(raw)


def require_uncompressed(http: Request) -> None:
    """Raises HTTPException 415."""
    coding = ",".join(http.headers.getlist("content-encoding")).strip().lower()
    if coding not in ("", "identity"):
        detail = "Send the body as it is, uncompressed and without the header Content-Encoding."
        raise HTTPException(415, detail, {"Accept-Encoding": "identity"})


async def in_thread_if_large(size: int, work: Callable[[], T]) -> T:
    """`work` on a body of so many bytes, beside the others where it takes long."""
    return await to_thread.run_sync(work) if size > LARGE_BYTES else work()


def read_object(
    raw: bytes, most_text: int, pictures: Collection[str] = PICTURE_FIELDS
) -> dict[str, Any]:
    """The JSON object in a body (RFC 8259: UTF-8), with or without a byte order mark. Whole
    numbers are ints, however they are written: 42, 42.0, 4.2e1.

    NaN and Infinity are read, so that the check of the field they stand in refuses them. Raises
    PayloadTooLargeError; MalformedRequestError for what is no JSON object; InvalidRequestError for
    more than any request can hold, and for what not every reader of JSON understands alike."""
    if text_bytes(raw, most_text) > most_text:
        raise _too_much_text(most_text)
    body = _parse(raw.removeprefix(_BYTE_ORDER_MARK))
    if not isinstance(body, dict):
        raise MalformedRequestError("The body must be a JSON object.")
    if faults := list(_faults(body)):
        raise InvalidRequestError(faults)
    if sum(map(len, _texts(body, pictures))) > most_text:
        raise _too_much_text(most_text)
    return body


def _too_much_text(most: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"Without its pictures, a request body may hold at most {most} bytes."
    )


def _texts(value: Any, pictures: Collection[str]) -> Iterator[str]:
    """The texts of a body that are no pictures."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry, pictures)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if name not in pictures:
                yield from _texts(entry, pictures)


def text_bytes(raw: bytes, enough: int) -> int:
    """How many bytes of JSON are no long strings; counts no further than a little over `enough`.

    It goes from quote to quote, so that long strings cost nothing."""
    counted, at, within = 0, 0, False
    while counted <= enough and at < len(raw):
        end = raw.find(b'"', at)
        end = len(raw) if end < 0 else end
        if not within or end - at <= LONG_BYTES:
            counted += end - at + 1
        if not within or not _escaped(raw[at:end]):
            within = not within
        at = end + 1
    return counted


def _escaped(before: bytes) -> bool:
    """Whether a quote is a part of the text that stands before it."""
    return (len(before) - len(before.rstrip(_ESCAPE))) % 2 == 1


def _parse(raw: bytes) -> Any:
    try:
        return _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise MalformedRequestError(
            f"The body is no text in UTF-8, from byte {error.start} on."
        ) from None
    except json.JSONDecodeError as error:
        raise MalformedRequestError(_where_it_ends(error)) from None
    except RecursionError:
        raise InvalidRequestError([_too_deep(())]) from None


def _where_it_ends(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "The body is empty; send a JSON object."
    hint = _HINTS.get(error.msg.rstrip(": "))
    hint = f": {hint}" if hint else ""
    return f"The body is no JSON at line {error.lineno}, column {error.colno}{hint}."


class _Repeated(dict[str, Any]):
    """An object in which names are given more than once."""

    names: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    repeated = _Repeated(fields)
    repeated.names = tuple(
        name for name, count in Counter(name for name, _ in pairs).items() if count > 1
    )
    return repeated


def _int(literal: str) -> int:
    _check_length(literal)
    return int(literal)


def _float(literal: str) -> float:
    _check_length(literal)
    value = float(literal)
    return int(value) if value.is_integer() and abs(value) <= LARGEST_EXACT else value


def _check_length(literal: str) -> None:
    if len(literal) > LONGEST_NUMBER:
        detail = f"A number in the body has more than {LONGEST_NUMBER} digits."
        raise InvalidRequestError([FieldError("", detail, "too_long")])


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float)


def _faults(body: dict[str, Any]) -> Iterator[FieldError]:
    """What no field of any request can hold, wherever it stands."""
    unseen: deque[tuple[Path, Any]] = deque([((), body)])
    seen = 0
    while unseen:
        path, value = unseen.popleft()
        seen += 1
        if seen + len(unseen) > MOST_VALUES:
            yield FieldError("", f"May hold at most {MOST_VALUES} values in all.", "too_many")
            return
        if isinstance(value, str):
            yield from _torn(path, value)
        elif isinstance(value, dict | list) and len(value) > MOST_ENTRIES:
            detail = f"May have at most {MOST_ENTRIES} entries."
            yield FieldError(_pointer(path), detail, "too_many")
        elif isinstance(value, dict | list) and len(path) >= DEEPEST:
            yield _too_deep(path)
        elif isinstance(value, list):
            unseen.extend(((*path, str(index)), entry) for index, entry in enumerate(value))
        elif isinstance(value, dict):
            yield from _faults_of_names(path, value)
            unseen.extend(((*path, name), entry) for name, entry in value.items())


def _faults_of_names(path: Path, value: dict[str, Any]) -> Iterator[FieldError]:
    if isinstance(value, _Repeated):
        for name in value.names:
            yield FieldError(_pointer((*path, name)), "Is given more than once.", "duplicate")
    for name in value:
        if len(name) > LONGEST_NAME:
            detail = f"A name may have at most {LONGEST_NAME} characters."
            yield FieldError(_pointer((*path, name)), detail, "too_long")
        yield from _torn((*path, name), name)


def _too_deep(path: Path) -> FieldError:
    detail = f"Objects and lists may lie at most {DEEPEST} deep in one another."
    return FieldError(_pointer(path), detail, "too_deep")


def _torn(path: Path, text: str) -> Iterator[FieldError]:
    """JSON can write half of a surrogate pair, which is no character (RFC 8259, section 8.2)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        detail = f"Must not hold half of a surrogate pair: {half}."
        yield FieldError(_pointer(path), detail, "character")


def _pointer(path: Path) -> str:
    return pointer(*path).encode(errors="replace").decode()
