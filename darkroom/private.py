"""Folders and files for their owner's eyes, whatever the umask; used by all processes."""

import os
from pathlib import Path
from typing import IO

FOLDER, FILE = 0o700, 0o600
SHARED_FOLDER, SHARED_FILE = 0o2770, 0o660
"""The folder's group is the group of whatever is made in it."""

STATE = {"demo", "first-key", "images", "logs", "loras", "valkey"}
"""What lies in a state directory."""


def make_state_dir(folder: Path) -> None:
    """Make a state directory with its logs; close one that an earlier version left open to others,
    unless it is a folder for other things too."""
    make_folder(folder / "logs")
    (folder / "logs").chmod(FOLDER)
    if {each.name for each in folder.iterdir()} <= STATE:
        folder.chmod(FOLDER)


def make_folder(folder: Path, mode: int = FOLDER) -> None:
    """Make the folder and what is missing above it; one that is there stays as it is."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        try:
            each.mkdir()
        except FileExistsError:  # another process made it
            continue
        each.chmod(mode)


def open_file(path: Path, how: str, mode: int = FILE) -> IO[bytes]:
    """Open a file to write bytes, `how` as `open` knows it; one that is made gets `mode`."""

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags, FILE)
        if mode != FILE:
            os.fchmod(descriptor, mode)
        return descriptor

    return open(path, how, opener=opener)
