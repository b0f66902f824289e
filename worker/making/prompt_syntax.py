"""The syntax of prompts: which words weigh how much, and where a chunk ends; in a job's greenlet,
knows neither models nor requests."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

STRONGER = 1.1
"""What a pair of round brackets multiplies a weight by and a square pair divides it by."""
MAX_WEIGHT = 10.0
"""Greater ones, as of many nested brackets, leave the range of half-precision numbers."""

_PIECE = re.compile(r"(\\*)([()\[\]])|[^()\[\]\\]+|\\+")
# Each reads a text once: `\s*` before what is sought would make long white space take seconds.
_WEIGHT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*", re.ASCII)
_BREAK = re.compile(r"\bBREAK\b")


class Fragment(NamedTuple):
    """Words of one weight."""

    text: str
    weight: float


Chunk = tuple[Fragment, ...]


def parse(text: str) -> tuple[Chunk, ...]:
    r"""A1111's syntax: `(word)` weighs 1.1, `(word:1.3)` 1.3, `[word]` 1 / 1.1, nested weights are
    multiplied, `\(` is a bracket, BREAK begins a new chunk. Brackets without a partner are text."""
    pieces, weights = _weigh(list(_pieces(text)))
    chunks: list[list[Fragment]] = [[]]
    for piece, weight in zip(pieces, weights, strict=True):
        first, *others = _split(piece)
        _append(chunks[-1], first, weight)
        for other in others:
            chunks.append([])
            _append(chunks[-1], other, weight)
    return tuple(tuple(chunk) for chunk in chunks if chunk) or ((Fragment("", 1.0),),)


def _split(text: str) -> list[str]:
    """The parts between BREAKs, without the white space around these."""
    first, *others = _BREAK.split(text)
    if not others:
        return [first]
    *middle, last = others
    return [first.rstrip(), *(each.strip() for each in middle), last.lstrip()]


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Brackets that mean something, and the text between them. Backslashes are text unless a
    bracket follows them; there, two are one and a single one makes it text."""
    held = ""
    for match in _PIECE.finditer(text):
        slashes, bracket = match[1], match[2]
        if bracket is None:
            held += match[0]
            continue
        held += "\\" * (len(slashes) // 2)
        if len(slashes) % 2:
            held += bracket
            continue
        if held:
            yield False, held
        held = ""
        yield True, bracket
    if held:
        yield False, held


def _weigh(pieces: list[tuple[bool, str]]) -> tuple[list[str], list[float]]:
    """The pieces that are text, each with its weight."""
    factors = _factors(pieces)
    texts, weights, around = [], [], [1.0]
    for index, (_, piece) in enumerate(pieces):
        if index not in factors:
            texts.append(piece)
            weights.append(min(max(around[-1], 0.0), MAX_WEIGHT))
        elif piece in "([":
            around.append(around[-1] * factors[index])
        else:
            around.pop()
    return texts, weights


def _factors(pieces: list[tuple[bool, str]]) -> dict[int, float]:
    """What each bracket that has a partner multiplies by. Takes the numbers out of `pieces`."""
    opened: dict[str, list[int]] = {"(": [], "[": []}
    factors = {}
    for index, (is_bracket, piece) in enumerate(pieces):
        if not is_bracket:
            continue
        if piece in opened:
            opened[piece].append(index)
            continue
        own, other = ("(", "[") if piece == ")" else ("[", "(")
        if not opened[own]:
            continue
        begin = opened[own].pop()
        while opened[other] and opened[other][-1] > begin:  # `(a [b)`: nothing will close it
            opened[other].pop()
        factors[begin] = factors[index] = 1 / STRONGER
        if piece == ")":
            was_bracket, last = pieces[index - 1]
            words, colon, number = last.rpartition(":")
            given = _WEIGHT.fullmatch(number) if colon and not was_bracket else None
            factors[begin] = float(given[1]) if given else STRONGER
            if given:
                pieces[index - 1] = (False, words)
    return factors


def _append(chunk: list[Fragment], text: str, weight: float) -> None:
    if chunk and chunk[-1].weight == weight:
        chunk[-1] = Fragment(chunk[-1].text + text, weight)
    elif text:
        chunk.append(Fragment(text, weight))


def text_of(prompt: Sequence[Chunk]) -> str:
    """The words of a prompt, without its syntax."""
    return "".join(fragment.text for chunk in prompt for fragment in chunk)


def is_weighted(prompt: Sequence[Chunk]) -> bool:
    return any(fragment.weight != 1.0 for chunk in prompt for fragment in chunk)
