"""Reads small files of a model that may be anything, without hanging and without taking all memory;
used by all processes, knows neither torch nor diffusers."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from darkroom.errors import ModelLoadError

MAX_JSON_BYTES = 16 * 2**20
"""Of a file of JSON. The largest configuration of a published model is an index of weights of 8 MB
(DeepSeek-V3); those of models that make pictures have less than 1."""
MAX_TOKENIZER_BYTES = 64 * 2**20
"""Of `tokenizer.json` and other vocabularies, the largest of which have 35 MB (Gemma 3)."""
MAX_JSON_DEPTH = 64
"""Objects and lists within one another: published files have less than ten."""


class NotJSONError(ModelLoadError):
    """A file that should hold JSON holds something else."""


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def size_of(path: Path) -> int:
    """Bytes of a file. Raises ModelLoadError for what is no ordinary file: reading some of them
    never ends."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        missing = "is a link to nothing" if path.is_symlink() else "is missing"
        reason = missing if isinstance(error, FileNotFoundError) else _why(error)
        raise ModelLoadError(f"{path.name} {reason}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in _KINDS if test(found.st_mode)), "something")
        raise ModelLoadError(f"{path.name} is {kind}, not a file")
    return found.st_size


def refuse_what_waits(path: Path) -> None:
    """Raises OSError for a pipe, a socket or a device, whose opening or reading may never end."""
    mode = path.stat().st_mode
    for test, kind in _KINDS:
        if test(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, f"it is {kind}, not a file")


def read_start(path: Path, length: int) -> bytes:
    """At most the first `length` bytes of a file. Raises ModelLoadError."""
    size_of(path)
    try:
        # Should it have become a pipe since: neither the opening nor the reading waits.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            return opened.read(length) or b""
    except OSError as error:
        raise ModelLoadError(f"{path.name} {_why(error)}") from None


def load_json(path: Path, limit: int = MAX_JSON_BYTES) -> Any:
    """What a file of JSON holds. Raises ModelLoadError if it is no JSON, larger than `limit` bytes
    or deeper than published ones by far."""
    if (size := size_of(path)) > limit:
        raise ModelLoadError(
            f"{path.name} has {size:,} bytes, where {limit:,} are far more than such a file needs"
        )
    return parse_json(read_start(path, limit), path.name)


def parse_json(content: bytes, name: str) -> Any:
    """The value in `content`, which is of the file `name`. Raises ModelLoadError."""
    try:
        value = json.loads(content)
    except (RecursionError, MemoryError):
        raise ModelLoadError(_too_deep(name)) from None
    except ValueError:
        raise NotJSONError(f"{name} is no JSON: damaged, or something else") from None
    level, depth = [value], 0
    while level := [
        inner
        for each in level
        if isinstance(each, dict | list)
        for inner in (each.values() if isinstance(each, dict) else each)
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth >= MAX_JSON_DEPTH:
            raise ModelLoadError(_too_deep(name))
    return value


def _too_deep(name: str) -> str:
    return f"{name} nests objects or lists more than {MAX_JSON_DEPTH} deep, as no such file does"


def _why(error: Exception) -> str:
    reason = (error.strerror or "").lower() if isinstance(error, OSError) else ""
    return f"cannot be read: {reason or type(error).__name__}"
