"""Text as people write it, and the characters it must not hold; used by service and worker, knows
neither HTTP nor torch."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

_LINE_BREAK = re.compile("\r\n|[\r\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}]")

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF)
)
"""Unicode keeps them free for ever (The Unicode Standard, section 23.7)."""
_SURROGATES = "\ud800-\udfff"
_TURNS = "\u202a-\u202e\u2066-\u2069"
"""They turn the direction of writing (UAX 9): what follows reads otherwise than it is."""

_NOT_IN_LINES = re.compile(f"[\0-\x08\x0b-\x1f\x7f-\x9f{_SURROGATES}{_NONCHARACTERS}]")
_NOT_IN_ONE_LINE = re.compile(
    f"[\0-\x1f\x7f-\x9f\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}{_TURNS}"
    f"{_SURROGATES}{_NONCHARACTERS}]"
)

MOST_NAMED = 5
"""Characters that are named in one sentence."""


_HARMLESS = "\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"


def plain(text: str) -> str:
    """Text of a client on one line: what would move the cursor, end the line or turn the direction
    of writing is shown as its code."""
    return "".join(
        char if char.isprintable() or char in _HARMLESS else _code(char) for char in text
    )


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _lines(text: str) -> str:
    """With one kind of line break."""
    text = _LINE_BREAK.sub("\n", text)
    _refuse(text, _NOT_IN_LINES)
    return text


def _one_line(text: str) -> str:
    _refuse(text, _NOT_IN_ONE_LINE)
    return text


def _refuse(text: str, bad: re.Pattern[str]) -> None:
    if not bad.search(text):
        return
    found = sorted(set(bad.findall(text)))
    names = ", ".join(f"U+{ord(each):04X}" for each in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} others" if len(found) > MOST_NAMED else ""
    raise PydanticCustomError("character", f"Must not hold these characters: {names}{more}.")


LINES = AfterValidator(_lines)
"""One or more lines. Every kind of line break becomes a line feed; tabs stay. Control characters
(C0, DEL, C1) and noncharacters are refused; what turns the direction of writing is not, because
prompts are written in all scripts: who prints one must escape it."""

ONE_LINE = AfterValidator(_one_line)
"""One line that people tell things apart by, such as a tag: nothing in it is hidden or turned."""

Text = Annotated[str, LINES]
"""Where its length is bounded, the bound stands before LINES: text is measured before it is read.
"""
