"""Puts cards into models.toml and takes them out, while all its other bytes stay as they are; of
the command line only.

The text is changed by lines and then read back as TOML: a change that would say anything else than
what was meant is refused, so that nothing here has to know all of TOML.
"""

import errno
import fcntl
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkroom.catalog import Catalog
from darkroom.models_text import ModelsFileError, text_of

Edit = Callable[[str], str]
"""From the text of a models.toml to another one. Raises ModelsFileError."""

_CARD = re.compile(r"[ \t]*\[\[[ \t]*models[ \t]*\]\][ \t]*(#.*)?\s*$")
_STYLE = re.compile(r"[ \t]*\[\[[ \t]*styles[ \t]*\]\][ \t]*(#.*)?\s*$")
_TABLE = re.compile(r"[ \t]*\[")
_NOTHING = re.compile(r"\s*(#.*)?\s*$")
"""A line that says nothing to a parser."""
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|\S',
    re.DOTALL,
)
"""Texts, comments, and any other character by itself."""


def change(path: Path, edit: Edit) -> Catalog:
    """Give the file the text that `edit` makes of its own, all at once or not at all; its mode
    stays. Returns what it then says.

    Raises ModelsFileError, also where no process could read what came of it."""
    place = path.resolve()  # a link goes on pointing there
    try:
        with _alone(place.parent):
            text, catalog = preview(path, edit)
            _replace(place, text.encode())
            return catalog
    except OSError as error:
        raise ModelsFileError(f"{path} cannot be changed: {_why(error)}.") from error


def preview(path: Path, edit: Edit) -> tuple[str, Catalog]:
    """The text that `change` would give the file, and what it says. Raises ModelsFileError."""
    try:
        text = edit(text_of(path))
        text.encode()
    except UnicodeEncodeError:
        raise ModelsFileError(
            "A name that is no text in UTF-8 cannot stand in models.toml."
        ) from None
    return text, Catalog.parse(text, path)


def with_card(text: str, card: Mapping[str, Any], comments: tuple[str, ...] = ()) -> str:
    """With another card at the end, under lines of comment. A text whose last line has no ending
    gets none for it."""
    lines = [f"# {line}" for line in comments]
    lines += ["[[models]]", *(f"{name} = {toml(value)}" for name, value in card.items())]
    ending = _ending(text)
    is_ended = not text or text.endswith("\n")
    gap, last = ("", ending) if is_ended else (ending, "")
    wanted = _parsed(text)
    wanted["models"] = [*wanted.get("models", ()), dict(card)]
    return _checked(text + gap + ending + ending.join(lines) + last, wanted, card["name"])


def without_card(text: str, name: str) -> str:
    """Without the card of that name, and the comment that stands directly above it; of the last,
    also without the empty line above that. So `with_card` is undone to the byte."""
    wanted, index = _card(text, name)
    lines = _lines(text)
    begin, end = _spans(lines)[index]
    del wanted["models"][index]
    if end == len(lines) and begin > 0 and not lines[begin - 1].strip():
        begin -= 1
    kept = "".join(lines[:begin] + lines[end:])
    if end == len(lines) and not text.endswith("\n"):
        kept = kept.removesuffix("\n").removesuffix("\r")
    return _checked(kept, wanted, name)


def with_entry(text: str, name: str, field: str, entry: Mapping[str, Any]) -> str:
    """With another entry in a list of the card called `name`, such as its `loras`."""
    wanted, index = _card(text, name)
    card = wanted["models"][index]
    is_new = field not in card
    card[field] = [*card.get(field, ()), dict(entry)]
    lines, ending = _lines(text), _ending(text)
    own = _Own(lines, *_spans(lines)[index])
    if is_new:
        own.insert(f"{field} = [{ending}    {toml(entry)},{ending}]{ending}")
    elif own.has_tables(field):
        pairs = [f"{key} = {toml(value)}" for key, value in entry.items()]
        own.append(ending.join(["", f"[[models.{field}]]", *pairs, ""]))
    else:
        own.extend(field, toml(entry), ending)
    return _checked(own.text, wanted, name)


def with_field(text: str, name: str, field: str, value: Any) -> str:
    """With a field that the card called `name` does not have yet."""
    wanted, index = _card(text, name)
    wanted["models"][index][field] = value
    lines = _lines(text)
    own = _Own(lines, *_spans(lines)[index])
    own.insert(f"{field} = {toml(value)}{_ending(text)}")
    return _checked(own.text, wanted, name)


def toml(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    # JSON writes numbers, true, false and texts as TOML does, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass
class _Own:
    """The lines of one card within those of the file."""

    lines: list[str]
    begin: int
    end: int

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def insert(self, text: str) -> None:
        """Add fields after the last that the card itself has, before its tables."""
        header = next(n for n in range(self.begin, self.end) if _CARD.match(self.lines[n]))
        tables = (n for n in range(header + 1, self.end) if _TABLE.match(self.lines[n]))
        self._add(next(tables, self.end), text)

    def append(self, text: str) -> None:
        """Add a table after all that the card has."""
        self._add(self.end, text)

    def has_tables(self, field: str) -> bool:
        pattern = re.compile(rf"[ \t]*\[\[[ \t]*models[ \t]*\.[ \t]*{field}[ \t]*\]\]")
        return any(pattern.match(line) for line in self.lines[self.begin : self.end])

    def extend(self, field: str, entry: str, ending: str) -> None:
        """Add to a list in brackets: on a line of its own where the last bracket has one."""
        place = sum(len(line) for line in self.lines[: self.begin])
        own = "".join(self.lines[self.begin : self.end])
        start = re.search(rf"^[ \t]*{field}[ \t]*=[ \t]*\[", own, re.MULTILINE)
        if start is None:
            return  # and what is then missing is noticed
        last, close = _ends_of_list(own, start.end())
        comma = "" if own[last - 1] in ",[" else ","
        alone = re.search(r"\n[ \t]*$", own[:close])
        if alone and last <= alone.start() + 1:
            at = alone.start() + 1
            own = f"{own[:last]}{comma}{own[last:at]}    {entry},{ending}{own[at:]}"
        else:
            own = f"{own[:last]}{comma}{' ' if own[last - 1] != '[' else ''}{entry}{own[last:]}"
        text = self.text
        end = sum(len(line) for line in self.lines[: self.end])
        self.lines = _lines(text[:place] + own + text[end:])

    def _add(self, before: int, text: str) -> None:
        while before > 0 and _NOTHING.match(self.lines[before - 1]):
            before -= 1
        if not self.lines[before - 1].endswith("\n"):
            self.lines[before - 1] += _ending(text)
        self.lines.insert(before, text)


def _ends_of_list(text: str, start: int) -> tuple[int, int]:
    """Where the last thing in a list ends, and where its closing bracket is; `start` is after the
    opening one."""
    depth, last = 1, start
    for token in _TOKEN.finditer(text, start):
        depth += {"[": 1, "]": -1}.get(token[0], 0)
        if depth == 0:
            return last, token.start()
        if not token[0].startswith("#"):
            last = token.end()
    return last, last


def _spans(lines: list[str]) -> list[tuple[int, int]]:
    """First line, and the one after the last, of each card, with the comment directly above it. A
    card ends where the next begins, or a style."""
    starts, cards = [], []
    for number, line in enumerate(lines):
        if _CARD.match(line) or _STYLE.match(line):
            cards.append(_CARD.match(line) is not None)
            start = number
            while start > 0 and re.match(r"[ \t]*#", lines[start - 1]):
                start -= 1
            # What a file begins with is about all of it.
            starts.append(number if start == 0 else start)
    spans = zip(starts, [*starts[1:], len(lines)], strict=False)
    return [span for span, is_card in zip(spans, cards, strict=True) if is_card]


def _card(text: str, name: str) -> tuple[dict[str, Any], int]:
    """What the file says, to be changed, and the number of the card in it."""
    content = _parsed(text)
    names = [card["name"] for card in content["models"]]
    count = len(_spans(_lines(text)))
    if name not in names or count != len(names):
        raise _by_hand(name)
    return content, names.index(name)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelsFileError(f"models.toml is no TOML: {error}.") from error


def _checked(text: str, wanted: Mapping[str, Any], name: str) -> str:
    try:
        if tomllib.loads(text) == wanted:
            return text
    except tomllib.TOMLDecodeError:
        pass
    raise _by_hand(name)


def _by_hand(name: str) -> ModelsFileError:
    return ModelsFileError(
        f"models.toml is written in a way that only a person can change for {name!r}: do it by "
        "hand."
    )


def _lines(text: str) -> list[str]:
    """With their ends; only those that TOML knows."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other command changes a file of the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(place: Path, content: bytes) -> None:
    """Raises OSError."""
    state = place.stat()
    if not state.st_mode & 0o222:  # which a rename would not ask for
        raise PermissionError(errno.EACCES, "it is write-protected")
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=".models-", suffix=".toml")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            with suppress(PermissionError):  # the file is another user's, the folder our group's
                os.fchown(file.fileno(), state.st_uid, state.st_gid)
            os.fchmod(file.fileno(), state.st_mode & 0o7777)
        os.replace(name, place)
    finally:
        Path(name).unlink(missing_ok=True)  # unless it has taken the place


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
