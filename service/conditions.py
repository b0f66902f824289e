"""What a client says of the copy it has, and which part it wants; in the service only.

Conditional requests and ranges of RFC 9110, sections 13 and 14; knows no job and no picture.
"""

import re
from email.utils import parsedate_to_datetime
from typing import Literal

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

_RANGES = re.compile(r"bytes[ \t]*=(.*)", re.ASCII | re.IGNORECASE)
_RANGE = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)", re.ASCII)
_LONGEST = 19
"""Digits of the largest position that a file can have."""


def precondition(
    headers: Headers, tag: str, modified: float | None = None
) -> Literal[304, 412, None]:
    """What stands in the way of a GET of what has the ETag `tag` and was written at `modified`
    (Unix time), in the order of section 13.2.2: 304, the client has it; 412, it is not what the
    client thinks; None, nothing."""
    if (known := listed(headers, "if-match")) is not None:
        if not _matches_strongly(known, tag):
            return 412
    elif modified and (since := _date(headers, "if-unmodified-since")) and int(modified) > since:
        return 412
    if (known := listed(headers, "if-none-match")) is not None:
        return 304 if matches(known, tag) else None
    if modified and (since := _date(headers, "if-modified-since")) and int(modified) <= since:
        return 304
    return None


def require_match(headers: Headers, tag: str) -> None:
    """For requests that change something: raises HTTPException 412 where `If-Match` names another
    state than `tag`, or `If-None-Match` this one."""
    known, not_known = listed(headers, "if-match"), listed(headers, "if-none-match")
    if (known is not None and not _matches_strongly(known, tag)) or matches(not_known, tag):
        raise changed()


def require_presence(headers: Headers, *, is_there: bool) -> None:
    """The same for what has no ETag, of which nothing but `*` can say that it is there."""
    known = listed(headers, "if-match")
    is_known = known is None or (is_there and "*" in _tags(known))
    if not is_known or (is_there and wants_none(headers)):
        raise changed()


def wants_none(headers: Headers) -> bool:
    """Whether a client wants to put something where nothing is, and only there."""
    return "*" in _tags(listed(headers, "if-none-match"))


def changed() -> HTTPException:
    return HTTPException(412, "It is in another state than your request says; read it again.")


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client already has what `tag` names (section 13.1.2: weak comparison)."""
    known = {each.removeprefix("W/") for each in _tags(if_none_match)}
    return tag in known or "*" in known


def listed(headers: Headers, name: str) -> str | None:
    """All lines of a header that is a list."""
    lines = headers.getlist(name)
    return ",".join(lines) if lines else None


def satisfiable(headers: Headers, size: int, tag: str, last_modified: str) -> str | None:
    """The ranges that a client wants and that are there, as a header that can be taken at its
    word; None where all is to be sent: units that nobody knows, ranges that are none, a copy that
    is another one (`If-Range`).

    Raises HTTPException 416 where none of the ranges is there."""
    found = _RANGES.fullmatch(headers.get("range", "").strip())
    if not found or headers.get("if-range", tag) not in (tag, last_modified):
        return None
    parts = [part.strip() for part in found[1].split(",") if part.strip()]
    ranges = [_RANGE.fullmatch(part) for part in parts]
    if not parts or not all(each and _in_order(each) for each in ranges):
        return None
    there = [part for part, each in zip(parts, ranges, strict=True) if each and _is_in(each, size)]
    if not there:
        detail = f"The header Range asks for no part of these {size} bytes."
        raise HTTPException(416, detail, {"Content-Range": f"bytes */{size}"})
    return f"bytes={','.join(there)}"


def _in_order(found: re.Match[str]) -> bool:
    first, last, suffix = found.groups()
    if any(len(each or "") > _LONGEST for each in found.groups()):
        return False
    return suffix is not None or not last or int(first) <= int(last)


def _is_in(found: re.Match[str], size: int) -> bool:
    first, _, suffix = found.groups()
    return int(suffix) > 0 and size > 0 if first is None else int(first) < size


def _matches_strongly(if_match: str, tag: str) -> bool:
    known = _tags(if_match)
    return tag in known or "*" in known


def _tags(header: str | None) -> set[str]:
    return {part.strip() for part in (header or "").split(",")}


def _date(headers: Headers, name: str) -> float | None:
    """A date in Unix time; what is none is ignored, as the standard wants."""
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
