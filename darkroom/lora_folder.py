"""The LoRAs that clients uploaded: a folder of files for each model; used by service and worker,
knows neither HTTP nor torch."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from darkroom.cards import LoraCard
from darkroom.errors import ModelLoadError
from darkroom.file_families import contents_of, fits
from darkroom.file_kinds import LORA, header_of, refuse_others
from darkroom.lora_keys import read_keys
from darkroom.model_files import SAFETENSORS
from darkroom.private import make_folder

UNFINISHED = ".part"
"""Ending of the names of files that are being received."""
ABANDONED_S = 86400
"""After so long without another byte nobody receives it any more."""


@dataclass(frozen=True)
class LoraFolder:
    """Where uploads lie. Names of models and LoRAs are checked before they come here: none of them
    can lead out of it."""

    root: Path

    def cards(self, model: str) -> tuple[LoraCard, ...]:
        """The uploads of a model, by name."""
        try:
            found = [path.name for path in (self.root / model).iterdir() if path.is_file()]
        except OSError:  # nobody has uploaded anything, or the folder is away
            return ()
        names = sorted(n.removesuffix(SAFETENSORS) for n in found if n.endswith(SAFETENSORS))
        return tuple(LoraCard(name=name, source=str(self.file(model, name))) for name in names)

    def file(self, model: str, name: str) -> Path:
        return (self.root / model / f"{name}{SAFETENSORS}").resolve()

    def begin(self, model: str, mark: str) -> Path:
        """The path of a file that is to be received; `mark` is nobody else's. What a service that
        was killed had begun is deleted. Raises OSError."""
        make_folder(self.root / model)
        for path in (self.root / model).glob(f".*{UNFINISHED}"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - ABANDONED_S:
                    path.unlink()
        return self.root / model / f".{mark}{UNFINISHED}"

    def keep(
        self,
        received: Path,
        model: str,
        name: str,
        family: str | None = None,
        *,
        only_new: bool = False,
    ) -> bool:
        """Offer a received file under a name; whether it takes the place of another. It is judged
        by its header first: whether it is all there and of a kind that is read, and whether it is
        for models of `family`, where both are known.

        Raises ModelLoadError, OSError, and with `only_new` FileExistsError where there is one."""
        refuse_others(received, LORA, wanted="LoRA")
        header = header_of(received)
        try:
            read_keys(header)
        except ModelLoadError as error:
            raise ModelLoadError(f"{received.name}: {error}") from None
        families = contents_of(header).families
        if families and family and not fits(families, family):
            made_for = " or ".join(families)
            raise ModelLoadError(
                f"{received.name} is a LoRA for {made_for}, and the model {model!r} is {family}"
            )
        file = self.file(model, name)
        if only_new:
            os.link(received, file)  # unlike a rename it replaces nothing
            return False
        is_new = not file.exists()
        received.replace(file)
        return not is_new

    def delete(self, model: str, name: str) -> None:
        """Raises FileNotFoundError, OSError."""
        self.file(model, name).unlink()


def mark_of(file: Path) -> str | None:
    """The same as text; None: it is gone."""
    state = state_of(file)
    return state and f"{state[0]}-{state[1]}"


def state_of(file: Path) -> tuple[int, int] | None:
    """Size and time of change, by which one upload is told from the next; None: it is gone."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
