"""Pictures that owners keep as files: put, read, list, let go of; sends nothing itself.

Each function is an exchange (`exchange.py`). Where an `owner` is given, files of all others are as
if they were not there. The pictures themselves lie in the image store, once for all who keep them.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from darkroom.errors import FilesFullError, NoSuchFileError
from darkroom.kept_file import AboutFile, KeptFile
from darkroom.queue.exchange import Exchange, Send, run
from darkroom.queue.jobs import given
from darkroom.queue.keeping import BATCH

LEAST_COUNTED = 4096
"""Bytes that a file counts as at least, as on a disk: so the number of files is bounded too."""

_CURSOR = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


@dataclass(frozen=True)
class FilePage:
    """Files, newest first; `next_cursor` is None at the end."""

    files: list[KeptFile]
    next_cursor: str | None


def put(
    file_id: str, about: AboutFile, *, owner: str, max_bytes: int
) -> Exchange[tuple[KeptFile, bool]]:
    """Keep a picture of the store as a file, and whether it is new; one that the owner keeps
    already is kept anew. `max_bytes`: what all their files may count as. Raises FilesFullError."""
    counted = max(about.bytes, LEAST_COUNTED)
    told = about.model_dump_json()
    verdict, kept = yield from run("put_file", file_id, owner, told, counted, max_bytes)
    if verdict == b"full":
        raise FilesFullError(
            f"Your files take {kept / 2**20:.1f} of {max_bytes / 2**20:g} MiB; delete some first."
        )
    return _read(file_id, kept), verdict == b"new"


def get(file_id: str, *, owner: str | None = None) -> Exchange[KeptFile]:
    """Raises NoSuchFileError."""
    name = f"darkroom:file:{file_id}"
    asked = ("HVALS", name) if owner is None else ("HMGET", name, owner)
    kept, (seconds, micros) = yield Send((asked, ("TIME",)))
    file = _latest(file_id, kept, int(seconds) + int(micros) / 1e6)
    if file is None:
        raise no_file(file_id)
    return file


def page(*, limit: int, cursor: str | None = None, owner: str | None = None) -> Exchange[FilePage]:
    """Files, newest first. Raises ValueError for a cursor that was never given out."""
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise ValueError(f"{cursor[:50]!r} is no cursor of this list")
    before = cursor or ""
    while True:
        last, now, rows = yield from run("list_files", before, limit, *given(owner))
        kept = (_latest(file_id.decode(), each, float(now)) for file_id, each in rows)
        found = [file for file in kept if file]
        before = last.decode()
        if found or not before:
            return FilePage(found, before or None)


def drop(file_id: str, *, owner: str | None = None) -> Exchange[None]:
    """Let go of a file. Raises NoSuchFileError."""
    if not (yield from run("drop_file", file_id, *given(owner))):
        raise no_file(file_id)


def drop_old() -> Exchange[int]:
    """Let go of all files whose time has passed; returns how many."""
    dropped, last = 0, BATCH
    while last >= BATCH:
        last = yield from run("old_files")
        dropped += last
    return dropped


def no_file(file_id: str) -> NoSuchFileError:
    """What is told of a file that is not there, or is not for who asks."""
    return NoSuchFileError(f"No file has the id {file_id[:80]!r}.")


def _latest(file_id: str, kept: Iterable[bytes | None], now: float) -> KeptFile | None:
    """What is kept of a file, if its time has not passed; of one that several keep, what the one
    has who loses it last."""
    files = [_read(file_id, each) for each in kept if each]
    latest = max(files, key=lambda file: file.expires_at, default=None)
    return latest if latest and latest.expires_at.timestamp() > now else None


def _read(file_id: str, kept: bytes) -> KeptFile:
    values: dict[str, Any] = json.loads(kept)
    moments = {
        name: datetime.fromtimestamp(float(values[of]), UTC)
        for name, of in (("created_at", "created"), ("expires_at", "expires"))
    }
    return KeptFile(id=file_id, **values["about"], **moments)
