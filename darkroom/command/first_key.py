"""The first key of the API, made by `darkroom up` where keys are asked for and there is none."""

import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from darkroom.api_keys import SCOPES, Token, new_key, parse
from darkroom.private import open_file
from darkroom.queue import api_keys
from darkroom.queue.connection import connect
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts

NAME = "first"
FILE = "first-key"


def make_first_key(redis_url: str, state_dir: Path) -> list[str]:
    """Make it, unless there is a valid key, and return sentences for a person. The key is in them
    if they go to a terminal, else in a file of the state directory, for its owner's eyes.

    Raises QueueUnavailableError, OSError."""
    with connect(redis_url) as redis:
        client = Client(redis, scripts(PLAIN_RULES))
        kept = client.carry_out(api_keys.all_keys())
        if any(key.left_s() > 0 for key in kept):
            return []
        key, token = new_key(_free_name({key.name for key in kept}), SCOPES)
        file = state_dir / FILE
        file.unlink(missing_ok=True)
        said = f"The first API key, which may do all; it is shown this once: {token.reveal()}"
        if not sys.stdout.isatty():  # before it counts: a key that nobody has would be the only one
            _write(file, token)
            said = f"The first API key, which may do all, is in {file}"
        if not client.carry_out(api_keys.put(key)):  # another `up` was faster
            file.unlink(missing_ok=True)
            return []
    return [said]


def renew_first_key(state_dir: Path, key_id: str, token: Token | None) -> list[str]:
    """Where the file holds the key with this id: its new secret, or no file for a key that is no
    more. Returns sentences for a person; a file that cannot be changed is told, too."""
    was = parse(found_key(state_dir) or "")
    if was is None or was.id != key_id:
        return []
    file = state_dir / FILE
    try:
        file.unlink()
        if token:
            _write(file, token)
    except OSError as error:
        return [f"{file} is out of date: {error.strerror}."]
    return [f"{file} held the old one and holds it, too." if token else f"{file} was deleted."]


def found_key(state_dir: Path) -> str | None:
    """What `make_first_key` wrote; None if there is no such file."""
    with suppress(OSError, UnicodeDecodeError):
        text = (state_dir / FILE).read_text().strip()
        return text if parse(text) else None
    return None


def _free_name(taken: Collection[str]) -> str:
    """One that no expired key has."""
    names = (NAME, *(f"{NAME}-{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if name not in taken)


def _write(file: Path, token: Token) -> None:
    with open_file(file, "xb") as opened:
        opened.write(f"{token.reveal()}\n".encode())
