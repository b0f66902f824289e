"""The syntax of prompts: which words weigh how much, and where a chunk ends; used by service and
worker, knows neither models nor requests."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

STRONGER = 1.1
"""What a pair of round brackets multiplies a weight by and a square pair divides it by."""
MAX_WEIGHT = 10.0
"""Greater ones, as of many nested brackets, leave the range of half-precision numbers."""

_LONGEST_SHOWN = 40
_FARTHEST = 1e9  # products beyond become no infinity, which times 0 would be no number
_PIECE = re.compile(r"(\\*)([()\[\]]|<(?=\w{1,20}:))|[^()\[\]\\<]+|\\+|<")
# Each reads a text once: `\s*` before what is sought would make long white space take seconds.
_WEIGHT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*", re.ASCII)
_BREAK = re.compile(r"\bBREAK\b")
_FROWN = re.compile(r"[:;=][-'^]?$")
_PARTNER = {")": "(", "]": "["}


class Fragment(NamedTuple):
    """Words of one weight."""

    text: str
    weight: float


Chunk = tuple[Fragment, ...]


class Piece(NamedTuple):
    """A bracket that means something, or the text between two, without escapes."""

    text: str
    is_bracket: bool
    begin: int
    """Where it stands in the prompt."""
    end: int


class Group(NamedTuple):
    """What stands between two brackets that belong together."""

    opening: str
    """`(`, `[`, or nothing where a closing bracket has no partner."""
    begin: int
    """Where it stands in the prompt, brackets included."""
    end: int
    last: str
    """The text right before the closing bracket."""
    has_bar: bool
    """Whether `|` stands in it outside of other brackets."""


def parse(text: str) -> tuple[Chunk, ...]:
    r"""A1111's syntax: `(word)` weighs 1.1, `(word:1.3)` 1.3, `[word]` 1 / 1.1, nested weights are
    multiplied, `\(` is a bracket, BREAK begins a new chunk. A bracket that nothing closes weighs
    all that follows; one that closes nothing is text."""
    chunks: list[list[Fragment]] = [[]]
    for piece, written in weigh(text):
        weight = min(max(written, 0.0), MAX_WEIGHT)
        first, *others = _split(piece)
        chunks[-1].append(Fragment(first, weight))
        chunks += [[Fragment(other, weight)] for other in others]
    joined = (_join(chunk) for chunk in chunks)
    return tuple(chunk for chunk in joined if chunk) or ((Fragment("", 1.0),),)


def weigh(text: str) -> Iterator[tuple[str, float]]:
    """The pieces that are text, each with its weight as it is written, whatever the range."""
    pieces = list(_pieces(text))
    factors = _factors(pieces)
    around = {"(": [1.0], "[": [1.0]}
    for index, piece in enumerate(pieces):
        if index not in factors:
            yield piece.text, _product(around["("][-1], around["["][-1])
        elif piece.text in around:
            open_ones = around[piece.text]
            open_ones.append(_product(open_ones[-1], factors[index]))
        else:
            around[_PARTNER[piece.text]].pop()


def groups(text: str) -> Iterator[Group]:
    """All pairs of brackets by where they close, and the closing brackets without a partner."""
    pieces = list(_pieces(text))
    open_ones: list[int] = []
    barred = set()
    for index, piece in enumerate(pieces):
        if not piece.is_bracket:
            if "|" in piece.text and open_ones:
                barred.add(open_ones[-1])
        elif piece.text not in _PARTNER:
            open_ones.append(index)
        else:
            before = pieces[index - 1] if index else piece
            last = "" if before.is_bracket else before.text
            if open_ones and pieces[open_ones[-1]].text == _PARTNER[piece.text]:
                begin = open_ones.pop()
                opening = pieces[begin]
                has_bar = begin in barred
                yield Group(opening.text, opening.begin, piece.end, last, has_bar)
            else:
                yield Group("", before.begin, piece.end, last, False)


def weight_in(text: str) -> tuple[str, float] | None:
    """The words and the weight of what stands in round brackets; None if it names none."""
    words, colon, number = text.rpartition(":")
    given = _WEIGHT.fullmatch(number) if colon else None
    return (words, float(given[1])) if given else None


def unescaped(text: str) -> str:
    r"""A prompt for a model that knows no syntax: `\(` is a bracket there, too."""
    return "".join(piece.text for piece in _pieces(text))


def shown(text: str) -> str:
    """A part of a prompt as it may stand in a sentence: on one line, without what does not print,
    and not long."""
    plain = "".join(c if c.isprintable() else " " for c in text[: 2 * _LONGEST_SHOWN]).strip()
    return plain if len(plain) <= _LONGEST_SHOWN else plain[: _LONGEST_SHOWN - 3] + "..."


def _split(text: str) -> list[str]:
    """The parts between BREAKs, without the white space around these."""
    first, *others = _BREAK.split(text)
    if not others:
        return [first]
    *middle, last = others
    return [first.rstrip(), *(each.strip() for each in middle), last.lstrip()]


def _pieces(text: str) -> Iterator[Piece]:
    """Backslashes are text unless a bracket or the beginning of a tag follows them; there, two are
    one and a single one makes it text."""
    held: list[str] = []
    begin = 0
    for match in _PIECE.finditer(text):
        slashes, special = match[1], match[2]
        if special is None:
            held.append(match[0])
            continue
        held.append("\\" * (len(slashes) // 2))
        if len(slashes) % 2 or special == "<":
            held.append(special)
            continue
        if before := "".join(held):
            yield Piece(before, False, begin, match.start(2))
        held, begin = [], match.end()
        yield Piece(special, True, match.start(2), match.end())
    if last := "".join(held):
        yield Piece(last, False, begin, len(text))


def _factors(pieces: list[Piece]) -> dict[int, float]:
    """What each bracket that is no text multiplies by. Takes the numbers out of `pieces`."""
    opened: dict[str, list[int]] = {"(": [], "[": []}
    factors = {}
    for index, piece in enumerate(pieces):
        if not piece.is_bracket:
            continue
        if piece.text in opened:
            opened[piece.text].append(index)
        elif opened[own := _PARTNER[piece.text]]:
            begin = opened[own].pop()
            factors[begin] = factors[index] = _factor(pieces, index)
    for opening, unclosed in opened.items():
        factor = STRONGER if opening == "(" else 1 / STRONGER
        factors |= {index: factor for index in unclosed if not _is_frown(pieces, index)}
    return factors


def _factor(pieces: list[Piece], closing: int) -> float:
    """Of the pair that ends here, whose number is taken out."""
    if pieces[closing].text == "]":
        return 1 / STRONGER
    last = pieces[closing - 1]
    if last.is_bracket or not (given := weight_in(last.text)):
        return STRONGER
    words, weight = given
    pieces[closing - 1] = last._replace(text=words)
    return weight


def _is_frown(pieces: list[Piece], index: int) -> bool:
    """`:(` with nothing that closes it."""
    before = pieces[index - 1] if index else None
    return before is not None and _FROWN.search(before.text[-2:]) is not None


def _product(one: float, other: float) -> float:
    far = min(max(other, -_FARTHEST), _FARTHEST)
    return min(max(one * far, -_FARTHEST), _FARTHEST)


def _join(chunk: list[Fragment]) -> Chunk:
    """Neighbours of the same weight are one."""
    worded = (fragment for fragment in chunk if fragment.text)
    return tuple(
        Fragment("".join(fragment.text for fragment in alike), weight)
        for weight, alike in groupby(worded, key=lambda fragment: fragment.weight)
    )


def text_of(prompt: Sequence[Chunk]) -> str:
    """The words of a prompt, without its syntax."""
    return "".join(fragment.text for chunk in prompt for fragment in chunk)


def is_weighted(prompt: Sequence[Chunk]) -> bool:
    return any(fragment.weight != 1.0 for chunk in prompt for fragment in chunk)
