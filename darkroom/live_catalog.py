"""The cards of models.toml as the file is now; used by all processes that run for long, knows
neither HTTP nor torch."""

import time
from collections.abc import Mapping
from pathlib import Path

from darkroom import logs
from darkroom.catalog import Catalog
from darkroom.lora_folder import LoraFolder
from darkroom.model_card import ModelCard
from darkroom.models_text import ModelsFileError

log = logs.get("catalog")

LOOK_EVERY_S = 0.5
"""Seconds between two looks at the file, at least."""

Mark = tuple[int, int, int] | None
"""What changes with a file; None: there is none."""


class LiveCatalog(Catalog):
    """A catalog that can be brought up to date. Cards that did not change stay the same objects."""

    def __init__(self, path: Path, uploads: LoraFolder | None = None) -> None:
        """Raises ModelsFileError."""
        self._uploads = uploads
        self._path, self._mark, self._look_at = path, _mark(path), 0.0
        self.fault: str | None = None
        """Why the file cannot be read; the cards are then those that it had before."""
        self._take(Catalog.read(path), {})

    def refresh(self, *, at_once: bool = False) -> bool:
        """Read the file again if it has changed; looked at now and then, or `at_once`. True: cards
        have. Never raises: a file that is wrong changes nothing, and is logged once."""
        now = time.monotonic()
        if now < self._look_at and not at_once:
            return False
        self._look_at = now + LOOK_EVERY_S
        mark = _mark(self._path)
        if mark == self._mark:
            return False
        self._mark = mark
        try:
            new = Catalog.read(self._path)
        except ModelsFileError as error:
            self.fault = str(error)
            log.error("models_file_not_read", reason=str(error))
            return False
        self.fault = None
        old, before = self.cards, self.default
        self._take(new, old)
        added = [name for name in self.cards if name not in old]
        removed = [name for name in old if name not in self.cards]
        changed = [name for name, card in self.cards.items() if old.get(name, card) is not card]
        log.info("models_file_read", added=added, removed=removed, changed=changed)
        return bool(added or removed or changed or before != self.default)

    def served(self, asked: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the models of those asked for that are listed; of all, if none is asked for."""
        if not asked:
            return tuple(self.cards)
        return tuple(dict.fromkeys(self._names[name].name for name in asked if name in self._names))

    def _take(self, new: Catalog, old: Mapping[str, ModelCard]) -> None:
        cards = [old[name] if old.get(name) == card else card for name, card in new.cards.items()]
        told = new.vocabularies, self._uploads, new.aliases, new.styles
        super().__init__(cards, new.default, new.root, *told)


def _mark(path: Path) -> Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
