"""The models an engine has in memory; each is loaded at its first job, on the engine's thread."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import torch

from darkroom import logs
from darkroom.errors import ModelLoadError, QueueUnavailableError
from darkroom.models import ModelRecord, ModelRecords, Models
from worker import pipelines
from worker.gather import Gather

log = logs.get("models")

LOAD_AGAIN_AFTER_S = 30.0
"""A model that could not be loaded is not tried again sooner."""


class LoadedModels:
    """Loads models by name and tells Redis what was found."""

    def __init__(
        self,
        catalog: Models,
        records: ModelRecords,
        gather: Gather,
        device: torch.device,
        *,
        worker: str,
        loading: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`loading` is entered around each load, which can take minutes."""
        self._catalog, self._records = catalog, records
        self._gather, self._device = gather, device
        self._worker = worker
        self._loading = loading
        self._loaded: dict[str, pipelines.LoadedModel] = {}
        self._faults: dict[str, tuple[float, ModelLoadError]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def get(self, name: str) -> pipelines.LoadedModel:
        """The model called `name`, loaded now if need be.

        Raises ModelNotFoundError, ModelLoadError."""
        if model := self._loaded.get(name):
            return model
        failed_at, fault = self._faults.get(name, (0.0, None))
        if fault and time.monotonic() - failed_at < LOAD_AGAIN_AFTER_S:
            raise fault
        with self._loading():
            model = self._load(name)
        self._loaded[name] = model
        self._tell(model.record)
        log.info("model_loaded", model=name, load_s=model.record.load_s)
        return model

    def _load(self, name: str) -> pipelines.LoadedModel:
        card = self._catalog.find(name)
        log.info("model_loads", model=name)
        try:
            return pipelines.load(card, self._catalog, self._gather, self._device)
        except ModelLoadError as error:
            fault = error
        except Exception as error:  # no model may take down an engine that serves others
            log.exception("model_load_crashed", model=name)
            fault = ModelLoadError(f"{card.source}: unexpected {type(error).__name__}")
        log.error("model_load_failed", model=name, reason=str(fault))
        self._faults[name] = (time.monotonic(), fault)
        self._tell(ModelRecord(name=name, error=str(fault)))
        raise fault

    def _tell(self, record: ModelRecord) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        stamped = record.model_copy(update={"worker": self._worker, "updated_at": now})
        try:
            self._records.put(stamped)
        except QueueUnavailableError as error:
            log.warning("record_not_written", model=record.name, reason=str(error))
