"""LoRAs that clients upload while their model is in memory: each is read when a job first names it;
engine thread of the worker only, knows no HTTP and no queue."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from darkroom.cards import LoraCard
from darkroom.errors import UnsupportedError
from darkroom.lora_folder import LoraFolder, mark_of, state_of
from darkroom.model_record import RefusedUpload
from worker.loading import loras
from worker.loading.adapted_layers import adapt, adapted_layers
from worker.loading.layer_names import Layers
from worker.loading.lora_changes import Changes
from worker.loading.workbench import Workbench


@dataclass(frozen=True)
class Uploads:
    """Puts uploads into the adapted components of one model, and takes out what is gone."""

    model: str
    folder: LoraFolder
    bench: Workbench
    layers: Layers
    names: MutableMapping[str, str]
    """The names that layers know LoRAs by, those of the card among them."""
    modules: Mapping[str, Sequence[torch.nn.Module]]
    """By parts of the model, those that take changes."""
    _states: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size and time of change of what was read of each."""
    _held: set[str] = field(default_factory=set)
    """The names that layers know uploads by, those that are gone among them."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def bring(self, wanted: Sequence[str], *, alone: bool) -> bool:
        """Read what a job names and is not there as it lies in the folder; whether anything has
        changed. `alone`: no other job of the model runs, which could work with what is gone.

        Raises UnsupportedError."""
        there = {card.name: card for card in self.folder.cards(self.model)}
        changed = alone and self._drop_old()
        for name in dict.fromkeys(wanted):
            if name in self.names and name not in self._states:
                continue  # of the card
            state = state_of(self.folder.file(self.model, name)) if name in there else None
            if state is None:
                self._forget(name)
            elif self._states.get(name) != state:
                self._forget(name)
                self._read(there[name], state)
                changed = True
        return changed

    @property
    def refused(self) -> dict[str, RefusedUpload]:
        """What lies in the folder and was read in vain."""
        found = {}
        for card in self.folder.cards(self.model):
            file = Path(card.source)
            reason, mark = self.bench.refusal(file), mark_of(file)
            if reason and mark:
                found[card.name] = RefusedUpload(file=mark, reason=reason)
        return found

    def _read(self, card: LoraCard, state: tuple[int, int]) -> None:
        name, what = card.name, f"lora:{card.name}"
        plan: Changes = {}
        with self.bench.note_faults(what, Path(card.source).name):
            plan = loras.read(self.bench, card, self.layers)
        if fault := self.bench.faults.pop(what, None):
            raise UnsupportedError(f"{what} of the model {self.model!r} cannot be used: {fault}")
        key = f"upload{next(self._numbers)}"
        for part, each in plan.items():
            for module in self.modules[part]:
                for layer, change in each.items():
                    adapt(module.get_submodule(layer)).add(key, change)
        self.names[name], self._states[name] = key, state
        self._held.add(key)

    def _forget(self, name: str) -> None:
        """Jobs that run keep it until `_drop_old`."""
        if name in self._states:
            del self._states[name], self.names[name]

    def _drop_old(self) -> bool:
        """Take out what no job can name any more; whether there was anything."""
        for name in tuple(self._states):
            if state_of(self.folder.file(self.model, name)) != self._states[name]:
                self._forget(name)
        gone = self._held - set(self.names.values())
        modules = itertools.chain(*self.modules.values()) if gone else ()
        for layer in itertools.chain.from_iterable(map(adapted_layers, modules)):
            for key in gone & layer.changes.keys():
                layer.drop(key)
        self._held.difference_update(gone)
        return bool(gone)
