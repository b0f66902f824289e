"""The models an engine has in memory: each is loaded at its first job, the least recently used make
room for others; engine thread of the worker only."""

import itertools
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import torch

from darkroom import logs
from darkroom.catalog import Catalog, ModelCard
from darkroom.errors import DarkroomError, DeviceMemoryError, ModelLoadError, QueueUnavailableError
from darkroom.offers import ModelRecord
from darkroom.places import files_of
from worker.device import free_device_memory, is_out_of_memory, is_shared, room_left, size
from worker.gathering.gather import Gather, ModuleState
from worker.loading import pipelines
from worker.loading.complaints import first_lines
from worker.loading.memory import expected_bytes, held_bytes, in_words
from worker.loading.weights import dtype_of, is_offloaded, modules_of, vae_files
from worker.prepared import prepare

log = logs.get("models")

LOAD_AGAIN_AFTER_S = 30.0
"""A model that could not be loaded is not tried again sooner."""

NOBODY: Collection[str] = frozenset()


@dataclass(eq=False)
class _Entry:
    """A model in memory."""

    card: ModelCard
    model: pipelines.LoadedModel
    states: tuple[ModuleState, ...]
    size: int
    """Bytes of its weights on the device."""
    used: int
    """Grows with every use of any model."""


class LoadedModels:
    """Loads models by name, evicts what nobody uses, and tells what was found."""

    def __init__(
        self,
        catalog: Catalog,
        tell: Callable[[ModelRecord], None],
        gather: Gather,
        device: torch.device,
        *,
        worker: str,
        loading: Callable[[str], AbstractContextManager[object]],
        progress: Callable[[str, float], None] = lambda *_: None,
        evicted: Callable[[], None] = lambda: None,
        limit_gb: float = 0,
    ) -> None:
        """`tell` is given what was found of each model; `loading` is entered around each load and
        each call that compiles a model, which can take minutes; `progress` hears which share of a
        model's weights has been read; `evicted` is called when a model has left. `limit_gb`: GiB
        that all weights may take together; 0: what the device has."""
        self._catalog, self._put = catalog, tell
        self._gather, self._device = gather, device
        self._worker = worker
        self.loading, self._progress, self._evicted = loading, progress, evicted
        self._limit = limit_gb * 2**30 or None
        self._loaded: dict[str, _Entry] = {}
        self._uses = itertools.count()
        self._needs: dict[str, int] = {}
        self._too_many: dict[str, frozenset[str]] = {}
        """Beside which models one did not fit, though its files had said so."""
        self._faults: dict[str, tuple[float, DarkroomError]] = {}
        self._refused: pipelines.Refused = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def get(self, name: str) -> pipelines.LoadedModel:
        """The model called `name`, which is in memory."""
        return self._loaded[name].model

    def use(self, name: str) -> pipelines.LoadedModel:
        """The same, and used last of all (LRU)."""
        entry = self._loaded[name]
        entry.used = next(self._uses)
        return entry.model

    def card(self, name: str) -> ModelCard:
        """The card of the model called `name`, which is in memory."""
        return self._loaded[name].card

    def load(self, name: str) -> pipelines.LoadedModel:
        """The model called `name`, loaded now if need be, and used last of all (LRU).

        Raises ModelNotFoundError, ModelLoadError, DeviceMemoryError."""
        model = self.load_beside(name, NOBODY)
        assert model is not None, "there is nobody whose end it could wait for"
        return model

    def load_beside(self, name: str, busy: Collection[str]) -> pipelines.LoadedModel | None:
        """As `load`, but models in `busy` have jobs and stay where they are: None if there will
        only be room once those have ended."""
        if name in self._loaded:
            if not self._is_outdated(name):
                return self.use(name)
            if name in busy:
                return None
            self._evict(name)
        failed_at, fault = self._faults.get(name, (0.0, None))
        if fault and time.monotonic() - failed_at < LOAD_AGAIN_AFTER_S:
            raise fault
        card = self._catalog.find(name)
        try:
            return self._load(card, busy) if self._make_room(card, busy) else None
        except (ModelLoadError, DeviceMemoryError) as error:
            fault = error
        log.error("model_load_failed", model=name, reason=str(fault))
        self._faults[name] = (time.monotonic(), fault)
        self._tell(ModelRecord(name=name, error=str(fault)))
        raise fault

    def has_room_for(self, name: str, busy: Collection[str]) -> bool:
        """Whether a job of the model could be started now: it is in memory, or can be loaded while
        models in `busy` stay, or can never be and its jobs fail."""
        if name in self._loaded:
            return name not in busy or not self._is_outdated(name)
        if name in self._faults:
            return True
        need = self._need(self._catalog.find(name))
        if need > self._room(self._evictable(NOBODY)):
            return True
        if need > self._room(self._evictable(busy)):
            return False
        too_many = self._too_many.get(name)
        return not too_many or not too_many <= self._loaded.keys() or bool(self._evictable(busy))

    def forget_faults(self) -> None:
        """What could not be loaded may be loadable now: cards have changed."""
        self._faults.clear()
        self._needs.clear()
        self._too_many.clear()

    def let_go_removed(self, busy: Collection[str]) -> None:
        """Free the memory of models that are not in the catalog any more and have no jobs."""
        for name in [name for name in self._loaded if name not in self._catalog.cards]:
            if name not in busy:
                self._evict(name)

    def preload(self, serves: Sequence[str]) -> None:
        """Load the pinned ones of these models and the default, or the first of them, so that the
        first job need not wait."""
        first = self._catalog.default if self._catalog.default in serves else serves[0]
        pinned = [name for name in serves if self._catalog.cards[name].pinned]
        for name in dict.fromkeys([*pinned, first]):
            # A fault is logged and told where it is noticed; other models can still be served.
            with suppress(DarkroomError):
                self.load(name)

    def evict_idle(self, busy: Collection[str]) -> bool:
        """Drop the least recently used model that has no jobs and may leave; whether one was."""
        if not (idle := self._evictable(busy)):
            return False
        least = min(idle, key=lambda each: each.used).card.name
        idle.clear()
        self._evict(least)
        return True

    def _evict(self, name: str) -> None:
        entry = self._loaded.pop(name)
        self._gather.forget(entry.states)
        log.info("model_evicted", model=name)
        del entry
        free_device_memory()
        self._evicted()

    def _is_outdated(self, name: str) -> bool:
        """Whether the catalog has another card for the model than the one it was loaded by."""
        return self._catalog.cards.get(name) is not self._loaded[name].card

    def _load(self, card: ModelCard, busy: Collection[str]) -> pipelines.LoadedModel | None:
        """None: there was less room than it seemed, and others will leave some."""
        while True:
            try:
                entry = self._read(card)
                break
            except DeviceMemoryError as error:
                if self.evict_idle(busy):
                    continue
                if not self._evictable(NOBODY):
                    may_fit = is_shared(self._device)
                    raise DeviceMemoryError(str(error), retryable=may_fit) from None
                self._too_many[card.name] = frozenset(self._loaded)
                return None
        self._loaded[card.name] = entry
        self._too_many.pop(card.name, None)
        self._tell(entry.model.record)
        record = entry.model.record
        log.info("model_loaded", model=card.name, load_s=record.load_s, compile_s=record.compile_s)
        return entry.model

    def _read(self, card: ModelCard) -> _Entry:
        """Raises ModelLoadError, DeviceMemoryError, leaving nothing in memory."""
        log.info("model_loads", model=card.name)
        self._progress(card.name, 0.0)
        before = set(self._gather.states)
        fault: DarkroomError
        try:
            with self.loading(card.name):
                place = (self._catalog, self._gather, self._device, self._refused)
                model = prepare(card, *place, partial(self._progress, card.name))
            states = tuple(each for each in self._gather.states if each not in before)
            return _Entry(card, model, states, self._size(card, model), next(self._uses))
        except (ModelLoadError, DeviceMemoryError) as error:
            fault = type(error)(str(error))
        except Exception as error:  # no model may take down an engine that serves others
            if is_out_of_memory(error):
                fault = DeviceMemoryError(f"{card.source} does not fit into what memory is left")
            else:
                log.exception("model_load_crashed", model=card.name)
                fault = ModelLoadError(f"{card.source}: unexpected {first_lines(error)}")
        # Raised anew: the frames of the first error hold the weights, for as long as it is kept.
        self._gather.forget([each for each in self._gather.states if each not in before])
        free_device_memory()
        raise fault

    def _make_room(self, card: ModelCard, busy: Collection[str]) -> bool:
        """Evict what has to go for the model of `card`; False: wait for models of `busy` to end.

        Raises DeviceMemoryError if there can never be room."""
        need = self._need(card)
        if need > self._room(self._evictable(NOBODY)):
            raise DeviceMemoryError(self._no_room(card, need), retryable=need <= self._most_room())
        if need > self._room(self._evictable(busy)):
            return False
        too_many = self._too_many.get(card.name)
        if too_many and too_many <= self._loaded.keys() and not self.evict_idle(busy):
            return False
        while need > self._room(head_room=True) and self.evict_idle(busy):
            pass
        return True

    def _need(self, card: ModelCard) -> int:
        """Bytes the model needs on the device while it is loaded."""
        if card.name not in self._needs:
            files, dtype = files_of(card, self._catalog), dtype_of(card, self._device)
            vae = vae_files(card, self._catalog)
            parts = expected_bytes(card, files, dtype, vae=vae).values()
            offloaded = is_offloaded(card, self._device)
            self._needs[card.name] = max(parts, default=0) if offloaded else sum(parts)
        return self._needs[card.name]

    def _size(self, card: ModelCard, model: pipelines.LoadedModel) -> int:
        if model.offload is not None:
            return self._need(card)
        modules = [*modules_of(model.components), *model.adapters.modules]
        checker = [model.safety.network] if model.safety else []
        return held_bytes([*(module for _, module in modules), *checker])

    def _room(self, leaving: Collection[_Entry] = (), *, head_room: bool = False) -> float:
        """Bytes that weights may take once `leaving` have left."""
        freed = sum(each.size for each in leaving)
        taken = sum(each.size for each in self._loaded.values())
        by_limit = (self._limit or float("inf")) - taken
        return min(by_limit, room_left(self._device, head_room=head_room)) + freed

    def _most_room(self) -> float:
        """Bytes that weights could take if nobody else used the device."""
        pinned = sum(each.size for each in self._loaded.values() if each.card.pinned)
        return min(self._limit or float("inf"), size(self._device)) - pinned

    def _evictable(self, busy: Collection[str]) -> list[_Entry]:
        """The models that may leave while `busy` ones have jobs."""
        return [
            each for name, each in self._loaded.items() if name not in busy and not each.card.pinned
        ]

    def _no_room(self, card: ModelCard, need: int) -> str:
        room = max(self._room(self._evictable(NOBODY)), 0)
        pinned = [name for name, each in self._loaded.items() if each.card.pinned]
        beside = f" beside {', '.join(pinned)}, which never leave" if pinned else ""
        return (
            f"The model {card.name!r} needs {in_words(need)} for its weights; {in_words(room)} "
            f"can be had{beside}."
        )

    def _tell(self, record: ModelRecord) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stamped = record.model_copy(update={"worker": self._worker, "updated_at": now})
        try:
            self._put(stamped)
        except QueueUnavailableError as error:
            log.warning("record_not_written", model=record.name, reason=str(error))
