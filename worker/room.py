"""What the weights of models need on the device and what it has left for them; engine thread of the
worker, loads nothing."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.places import files_of
from worker.device import room_left, size
from worker.gathering.gather import ModuleState
from worker.loading.memory import expected_bytes, held_bytes, in_words
from worker.loading.pipelines import LoadedModel
from worker.loading.weights import dtype_of, is_offloaded, modules_of, vae_files
from worker.mapped_files import Marks, are_overwritten, marks_of


@dataclass(eq=False)
class Entry:
    """A model in memory."""

    card: ModelCard
    model: LoadedModel
    states: tuple[ModuleState, ...]
    size: int
    """Bytes of its weights on the device."""
    used: int
    """Grows with every use of any model."""
    marks: Marks
    """Of the files that its weights are pages of."""

    @property
    def is_overwritten(self) -> bool:
        """Whether it changed with its files."""
        return are_overwritten(self.marks)


class Room:
    """The device's memory, as far as models may have it; all in bytes."""

    def __init__(self, catalog: Catalog, device: torch.device, *, limit_gb: float = 0) -> None:
        """`limit_gb`: GiB that all weights may take together; 0: what the device has."""
        self._catalog, self._device = catalog, device
        self._limit = limit_gb * 2**30 or float("inf")
        self._needs: dict[str, int] = {}

    def forget(self) -> None:
        """Cards have changed, and so may have what they need."""
        self._needs.clear()

    def need(self, card: ModelCard) -> int:
        """What a model needs while it is loaded. Raises ModelLoadError."""
        if card.name not in self._needs:
            files, dtype = files_of(card, self._catalog), dtype_of(card, self._device)
            vae = vae_files(card, self._catalog)
            parts = expected_bytes(card, files, dtype, vae=vae).values()
            offloaded = is_offloaded(card, self._device)
            self._needs[card.name] = max(parts, default=0) if offloaded else sum(parts)
        return self._needs[card.name]

    def taken(self, card: ModelCard, model: LoadedModel) -> int:
        """What a loaded model takes."""
        if model.offload is not None:
            return self.need(card)
        modules = [*modules_of(model.components), *model.adapters.modules]
        checker = [model.safety.network] if model.safety else []
        return held_bytes([*(module for _, module in modules), *checker])

    def entry(
        self,
        card: ModelCard,
        model: LoadedModel,
        states: tuple[ModuleState, ...],
        used: int,
        marks: Marks,
    ) -> Entry:
        """What is kept of a model that was loaded."""
        return Entry(card, model, states, self.taken(card, model), used, marks)

    def marks(self, card: ModelCard) -> Marks:
        """Of the files that the weights of a model will be pages of. Raises ModelLoadError."""
        is_mapped = self._device.type == "cpu" or is_offloaded(card, self._device)
        return marks_of(card, self._catalog) if is_mapped else {}

    def left(
        self, there: Iterable[Entry], leaving: Iterable[Entry] = (), *, head_room: bool = False
    ) -> float:
        """What more weights may take beside the models that are there, once some of them have left;
        with `head_room`, some of it is for what is computed."""
        free = room_left(self._device, head_room=head_room)
        return min(self._limit - _sizes(there), free) + _sizes(leaving)

    def most(self, staying: Iterable[Entry]) -> float:
        """What weights could take if nobody else used the device, beside those that never leave."""
        return min(self._limit, size(self._device)) - _sizes(staying)


def refusal(card: ModelCard, need: int, left: float, beside: Collection[str]) -> str:
    """That a model needs more than is `left`, while the models `beside` it stay."""
    names = f" beside {', '.join(beside)}, which never leave" if beside else ""
    return (
        f"The model {card.name!r} needs {in_words(need)} for its weights; "
        f"{in_words(max(left, 0))} can be had{names}."
    )


def _sizes(entries: Iterable[Entry]) -> int:
    """Bytes of all of them."""
    return sum(each.size for each in entries)
