"""What a model that was taught little can draw, and what to say of prompts beyond that; used by the
service, knows neither HTTP nor torch."""

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from darkroom.prompt_syntax import parse, shown, text_of
from darkroom.safe_files import refuse_what_waits

MOST_BYTES = 1 << 20
MOST_NAMED = 5
"""Things or words that a sentence names."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_PLURAL = re.compile(r"(?<=[^\W_]{2})(?:(?<=o|x)es|(?<=ch|sh|ss)es|(?<![su])s)$")
_LITTLE = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has in into is it its of on or over that the their them "
        "there these this to under very with without",
    )
)
"""Words that are in every text and say nothing of what is drawn."""


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model was taught."""

    things: tuple[tuple[str, ...], ...]
    """What it can draw, each by all of its names."""
    words: tuple[str, ...] = ()
    """What may be said of them, such as colours and sizes."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file with a thing in each line, its other names behind bars; a line that begins
        with + holds words that may be said of things, one with # says nothing.

        Raises OSError, ValueError."""
        refuse_what_waits(path)
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ValueError(f"holds more than {MOST_BYTES} bytes")
        lines = [line.strip() for line in raw.decode().splitlines()]
        things = [line for line in lines if line and line[0] not in "#+"]
        words = " ".join(line[1:] for line in lines if line.startswith("+"))
        names = (tuple(_names(line)) for line in things)
        return cls(tuple(each for each in names if each), tuple(words.lower().split()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for names in self.things for name in names)

    @cached_property
    def _by_first(self) -> dict[str, list[tuple[tuple[str, ...], str]]]:
        """The names of things, as words and as they are written, by the first word."""
        found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for name in self.names:
            if words := _words(name):
                found.setdefault(words[0], []).append((words, name))
        return found

    @cached_property
    def _said_of_things(self) -> frozenset[str]:
        return frozenset(word for each in self.words for word in _words(each))

    @cached_property
    def _in_names(self) -> frozenset[str]:
        return frozenset(word for name in self.names for word in _words(name))

    def knows(self, word: str) -> bool:
        return _stem(word) in self._in_names | self._said_of_things

    def has_thing(self, text: str) -> bool:
        """Whether a text names a thing, or holds two words of names, as in `smiling face`."""
        words = _words(text)
        parts = self._in_names.intersection(words) - self._said_of_things - _LITTLE
        return len(parts) > 1 or any(
            words[index : index + len(name)] == name
            for index, word in enumerate(words)
            for name, _ in self._by_first.get(word, ())
        )

    def near(self, text: str) -> list[str]:
        """Things that may be meant: those of an emoji, those that share a word, those that are
        spelt alike."""
        drawn = [unicodedata.name(each, "").lower() for each in text[:100] if ord(each) > 0x2000]
        found = [each for each in drawn if each in self.names]
        for word in _words(text)[:50]:
            if word not in self._said_of_things | _LITTLE:
                found += [name for name in self.names if word in _words(name)]
        keys = sorted(self._by_first)
        for word in _words(text)[:50]:
            for key in difflib.get_close_matches(word[:40], keys, 1, 0.8):
                found += [name for _, name in self._by_first[key]]
        return list(dict.fromkeys(found))


def strangers(prompt: str, model: str, vocabulary: Vocabulary) -> Iterator[str]:
    """A sentence if `model` will hardly draw what a prompt says: it names no thing that the model
    knows, or the model knows less than half of its words."""
    text = text_of(parse(prompt))
    said = [word for word in dict.fromkeys(_WORD.findall(text.lower())) if word not in _LITTLE]
    unknown = [word for word in said if not vocabulary.knows(word)]
    if not text.strip() or not vocabulary.things:
        return
    if not vocabulary.has_thing(text):
        meant = vocabulary.near(text)
        others = [names[0] for names in vocabulary.things if names[0] not in meant]
        named = [*meant, *others[:: max(1, len(others) // MOST_NAMED)]][:MOST_NAMED]
        yield (
            f"prompt: the model {model!r} draws {len(vocabulary.things)} things, and none of them "
            f"is named. It knows {', '.join(named)}; GET /api/v1/models/{model} lists all."
        )
    elif len(unknown) * 2 > len(said):
        more = " and more" if len(unknown) > MOST_NAMED else ""
        yield (
            f"prompt: the model {model!r} was never taught "
            f"{', '.join(map(shown, unknown[:MOST_NAMED]))}{more}; GET /api/v1/models/{model} "
            "lists what it knows."
        )


def _names(line: str) -> Iterator[str]:
    return (name for each in line.split("|") if (name := " ".join(each.split()).lower()))


def _words(text: str) -> tuple[str, ...]:
    return tuple(map(_stem, _WORD.findall(text.lower())))


def _stem(word: str) -> str:
    """The same for one and many."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return _PLURAL.sub("", word)
