"""Whether the files that the weights of a loaded model lie in are as they were; engine thread of
the worker only, reads none of them.

On a CPU, weights are pages of their files: whoever writes into one of those changes the model.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.model_files import SAFETENSORS
from darkroom.places import files_of

Marks = Mapping[Path, os.stat_result]


def marks_of(card: ModelCard, catalog: Catalog) -> Marks:
    """What tells each file from what it may become. Raises ModelLoadError."""
    return {path: path.stat() for path in _files(card, catalog) if path.is_file()}


def are_overwritten(marks: Marks) -> bool:
    """Whether something was written into any of the files. Not of one that another took the place
    of, or that was deleted: what is mapped then stays as it is."""
    return any(_is_overwritten(path, before) for path, before in marks.items())


def _is_overwritten(path: Path, before: os.stat_result) -> bool:
    try:
        now = path.stat()
    except OSError:
        return False
    is_same_file = (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)
    return is_same_file and (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def _files(card: ModelCard, catalog: Catalog) -> Iterator[Path]:
    """Those that a card names, and all weights of the folders that it names."""
    files = files_of(card, catalog)
    for name in files.parts:
        part = files.part(name)
        yield from (
            [part.single.path] if part.single else map(part.folder.joinpath, part.safetensors)
        )
    named = [card.vae, *(each.source for each in card.controlnets)]
    named += [each.source for each in (card.ip_adapter, card.safety) if each]
    for place in filter(None, (catalog.locate(source) for source in named if source)):
        yield place
        yield from place.rglob(f"*{SAFETENSORS}")
