"""Syntax of other programs in prompts, which is read as words here, and what to say of it; used by
the service, knows neither HTTP nor torch.

Nothing here changes a prompt. Every pattern reads a text once, however long.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from darkroom.prompt_syntax import Group, groups, is_weighted, parse, shown, weight_in

MOST_NAMED = 3
"""Places of a prompt that one sentence names."""

# Midjourney's.
_FLAGS = (
    "ar|aspect|c|chaos|cref|cw|exp|fast|hd|iw|niji|no|ow|p|profile|q|quality|raw|relax|repeat|s|"
    "sameseed|seed|sref|stop|style|stylize|sv|sw|test|testp|tile|turbo|upbeta|uplight|v|version|"
    "video|w|weird"
)

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?<!\\)<(?!lora:|lyco:|locon:|loha:|lokr:)\w{1,20}:[^<>\n]{1,200}>", re.I),
        "read as words: of such tags <lora:NAME:WEIGHT> alone is known",
    ),
    (
        re.compile(
            r"(?<!\\)<(?:lora|lyco|locon|loha|lokr|hypernet):[^<>\n]{0,40}(?![^<>]{0,200}>)", re.I
        ),
        "a tag without its end, read as words",
    ),
    (
        re.compile(r"\{[^{}|]{0,200}\|[^{}]{0,200}\}"),
        "a choice that nobody makes: write one of its words",
    ),
    (re.compile(r"\{\{"), "curly brackets, which weigh nothing: write (word:1.2)"),
    (
        re.compile(r"(?<!\w)__\w[\w/.*-]{0,63}?__(?!\w)"),
        "a wildcard that nobody fills in: write a word",
    ),
    (
        re.compile(r"(?<!\w)embedding:[\w.-]{1,64}"),
        "read as words: a prompt names a textual inversion by its own word",
    ),
    (
        re.compile(
            r"\)(?:\++(?!\w)|-{2,}(?!\w)|[0-9]?\.[0-9]{1,4})|(?<!\w)[^\W\d_]{3,40}\+{2,}(?!\w)"
        ),
        "the weights of another program: write (word:1.2)",
    ),
    (
        re.compile(r"\)\.(?:and|blend|swap)\(|\.swap\("),
        "read as words: prompts are not joined here",
    ),
    (
        re.compile(rf"(?<!\S)--(?:{_FLAGS})(?!\S)(?: [\w:.]{{1,20}})?"),
        "read as words: size, seed, negative_prompt and the like are fields of the request",
    ),
    (
        re.compile(r"(?<=\w)::-?[0-9.]{0,8}(?!\S)|(?<![\w.:])-?[0-9][0-9.]{0,8}::"),
        "the weights of another program: write (word:1.2)",
    ),
    (
        re.compile(r"(?<!\w)(?:ADDBASE|ADDCOL|ADDCOMM|ADDROW)(?!\w)"),
        "read as words: pictures have no regions here",
    ),
    (
        re.compile(r"（[^（）]{0,200}[:：]\s{0,9}[0-9.]{1,9}\s{0,9}）"),
        "wide brackets, which weigh nothing: write (word:1.2)",
    ),
    (re.compile(r"(?:^|\n)#\s[^\n]{0,60}|/\*"), "no comment here, and read like the rest"),
)

_AND = re.compile(r"\bAND\b")
_LOUD_WORD = re.compile(r"(?<!\w)(?!AND\b|BREAK\b)[^\W\d_]{2,}(?!\w)")
_MIDWAY = re.compile(r":\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*$", re.ASCII)
_CLOCK = re.compile(r"(?:^|[^\w:])(?:[01]?[0-9]|2[0-3]):[0-5][0-9]$")
_ODD_NUMBER = re.compile(r":\s*[+-]?[0-9][0-9.,%]*\s*$")
_TAG = re.compile(r"(?<!\\)<\w{1,20}:[^<>\n]{1,200}>")
_UNOPENED = re.compile(r":\s*[0-9]*\.[0-9]+\s*$")
_TAIL = 64


def doubts(values: Mapping[str, Any], words: Sequence[str] = ()) -> Iterator[str]:
    """A sentence for each thing in the prompts of a request that will not act as it is meant to;
    `words` of the model are none."""
    for name in ("prompt", "negative_prompt"):
        yield from _doubts(name, values.get(name) or "", words)
    for index, region in enumerate(values.get("regions") or ()):
        name, phrase = f"regions/{index}/phrase", region["phrase"]
        prompt = parse(phrase)
        if is_weighted(prompt) or len(prompt) > 1 or _TAG.search(phrase):
            yield f"{name}: brackets, BREAK and tags are read as words in a phrase."
        yield from _doubts(name, phrase, words)


def _doubts(name: str, text: str, words: Sequence[str]) -> Iterator[str]:
    found = list(_in_brackets(text))
    if not _is_loud(text):
        and_alone = "read as a word: prompts are not combined here"
        found += [(each[0], and_alone) for each in _AND.finditer(text)]
    for pattern, what in PATTERNS:
        found += [(each[0], what) for each in pattern.finditer(text) if each[0] not in words]
    by_what: dict[str, list[str]] = {}
    for place, what in found:
        by_what.setdefault(what, []).append(place)
    for what, places in by_what.items():
        yield f"{name}: {_few(dict.fromkeys(map(shown, places)))}: {what}."


def _in_brackets(text: str) -> Iterator[tuple[str, str]]:
    for group in groups(text):
        if what := _doubt(group):
            yield text[group.begin : group.end], what


def _doubt(group: Group) -> str | None:
    last = group.last[-_TAIL:]
    if group.opening == "[":
        if group.has_bar:
            return "words that do not take turns here; all are read, with less weight"
        if _MIDWAY.search(last) and not _CLOCK.search(last):
            return "words that do not change midway here; all are read, with less weight"
    elif group.opening == "(":
        if _ODD_NUMBER.search(last) and not weight_in(last):
            return "no weight of the form 1.2, so it counts as 1.1"
    elif _UNOPENED.search(last):
        return "a weight without its opening bracket, read as words"
    return None


def _is_loud(text: str) -> bool:
    """Whether all is in capitals: then AND is a word like others."""
    return text.upper() == text and _LOUD_WORD.search(text) is not None


def _few(places: Iterable[str]) -> str:
    them = iter(places)
    named = ", ".join(islice(them, MOST_NAMED))
    return named + (" and more" if next(them, None) else "")
