"""The models an engine has in memory: each is loaded at its first job, the least recently used make
room for others; engine thread of the worker only."""

import itertools
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import partial

import torch

from darkroom import logs
from darkroom.catalog import Catalog
from darkroom.errors import (
    DarkroomError,
    DeviceMemoryError,
    ModelLoadError,
    ModelNotFoundError,
    QueueUnavailableError,
    UnsupportedError,
)
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.request import Request
from worker.device import free_device_memory, is_out_of_memory, is_shared
from worker.gathering.gather import Gather
from worker.loading import pipelines
from worker.loading.complaints import first_lines
from worker.prepared import prepare
from worker.room import Entry, Room, refusal

log = logs.get("models")

LOAD_AGAIN_AFTER_S = 30.0
"""A model that could not be loaded is not tried again sooner."""

NOBODY: Collection[str] = frozenset()


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
        self._room = Room(catalog, device, limit_gb=limit_gb)
        self._loaded: dict[str, Entry] = {}
        self._uses = itertools.count()
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

    def bring(self, name: str, request: Request, *, alone: bool) -> None:
        """Let the model called `name`, which is in memory, read the uploads that a request names;
        `alone`: no other job of it runs. Raises UnsupportedError, and tells all why."""
        entry, adapters = self._loaded[name], self.get(name).adapters
        try:
            if adapters.bring(request, alone=alone):
                entry.size = self._room.taken(entry.card, entry.model)
        except UnsupportedError:
            entry.model = entry.model.tells(refused_uploads=adapters.refused_uploads)
            self._tell(entry.model.record)
            raise

    def entry(self, name: str) -> Entry:
        """What there is of the model called `name`, which is in memory."""
        return self._loaded[name]

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
            if not (self._is_outdated(name) or self._loaded[name].is_overwritten):
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

    def load_together(
        self, names: Sequence[str], busy: Collection[str]
    ) -> list[pipelines.LoadedModel] | None:
        """The models of one job, by their own names, needed at once; as `load_beside`."""
        models: list[pipelines.LoadedModel] = []
        for name in names:
            if name not in self._catalog.cards:
                raise ModelNotFoundError(name, because="it is in models.toml no more")
            model = self.load_beside(name, {*busy, *names[: len(models)]})
            if model is None:
                self._refuse_in_vain(name, names)
                return None
            models.append(model)
        return models

    def _refuse_in_vain(self, name: str, names: Collection[str]) -> None:
        """Raises DeviceMemoryError if only others of `names` leave a model no room."""
        leaving = self._evictable(names)
        need, left = self._room.need(self._catalog.find(name)), self._left(leaving)
        if name not in self._loaded and (need > left or not leaving):
            others = " and ".join(repr(each) for each in names if each != name)
            raise DeviceMemoryError(f"The model {name!r} does not fit into memory beside {others}.")

    def has_room_for(self, names: Collection[str], busy: Collection[str]) -> bool:
        """Whether a job of these models could be started now: they are in memory, or can be loaded
        while models in `busy` stay, or can never be and its jobs fail."""
        if any(n in busy and self._is_outdated(n) for n in names if n in self._loaded):
            return False
        lacking = [name for name in names if name not in self._loaded]
        if not lacking or any(name in self._faults for name in lacking):
            return True
        try:
            need = sum(self._room.need(self._catalog.find(name)) for name in lacking)
        except (ModelNotFoundError, ModelLoadError):
            return True
        leaving, staying = self._evictable(names), {*busy, *names}
        if need > self._left(leaving):
            return True
        if need > self._left(self._evictable(staying)):
            return False
        full = any(self._too_many.get(n, {""}) <= self._loaded.keys() for n in lacking)
        return not full or bool(self._evictable(staying)) or not leaving

    def forget_faults(self) -> None:
        """What could not be loaded may be loadable now: cards have changed."""
        self._faults.clear()
        self._room.forget()
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

    def _read(self, card: ModelCard) -> Entry:
        """Raises ModelLoadError, DeviceMemoryError, leaving nothing in memory."""
        log.info("model_loads", model=card.name)
        self._progress(card.name, 0.0)
        before = set(self._gather.states)
        fault: DarkroomError
        try:
            with self.loading(card.name):
                marks = self._room.marks(card)
                place = (self._catalog, self._gather, self._device, self._refused)
                model = prepare(card, *place, partial(self._progress, card.name))
            states = tuple(each for each in self._gather.states if each not in before)
            return self._room.entry(card, model, states, next(self._uses), marks)
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
        need, left = self._room.need(card), self._left(self._evictable(NOBODY))
        if need > left:
            pinned = [each for each in self._loaded.values() if each.card.pinned]
            said = refusal(card, need, left, [each.card.name for each in pinned])
            raise DeviceMemoryError(said, retryable=need <= self._room.most(pinned))
        if need > self._left(self._evictable(busy)):
            return False
        too_many = self._too_many.get(card.name)
        if too_many and too_many <= self._loaded.keys() and not self.evict_idle(busy):
            return False
        while need > self._left(head_room=True) and self.evict_idle(busy):
            pass
        return True

    def _left(self, leaving: Collection[Entry] = (), *, head_room: bool = False) -> float:
        """Bytes that weights may take once `leaving` have left."""
        return self._room.left(self._loaded.values(), leaving, head_room=head_room)

    def _evictable(self, busy: Collection[str]) -> list[Entry]:
        """The models that may leave while `busy` ones have jobs."""
        loaded = self._loaded.items()
        return [each for name, each in loaded if name not in busy and not each.card.pinned]

    def _tell(self, record: ModelRecord) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stamped = record.model_copy(update={"worker": self._worker, "updated_at": now})
        try:
            self._put(stamped)
        except QueueUnavailableError as error:
            log.warning("record_not_written", model=record.name, reason=str(error))
