"""Runs groups of parked calls, and makes them fit where memory is short (out-of-memory fallback);
engine thread of the worker only, knows no requests.

A group that does not fit is halved until it does. A call that does not fit by itself goes up the
ladder: models without jobs leave, then the VAE works in slices, then in tiles, then everything
else of the model waits in the host's memory.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkroom import logs
from darkroom.errors import DeviceMemoryError
from worker.device import free_device_memory
from worker.gathering.gather import Call, Gather
from worker.gathering.ladder import Ladder, relief, rungs

log = logs.get("runner")


@dataclass(frozen=True)
class Parts:
    """The model that calls of one group belong to."""

    model: str
    components: Mapping[str, Any]
    """Its parts by the names that pipelines have for them."""


@dataclass(frozen=True)
class Outcome:
    """What became of one call that did not simply fit."""

    owner: Hashable
    rung: str | None = None
    """What helped; None with an `error`."""
    error: DeviceMemoryError | None = None
    """Nothing did. The call is still parked, for this to be thrown into its job."""


class Runner:
    """Runs groups for as long as models live; learns what fits."""

    def __init__(
        self,
        gather: Gather,
        *,
        most_rows: dict[Hashable, int],
        evict_idle: Callable[[Collection[str]], bool],
    ) -> None:
        """`most_rows`: rows of a key that fit at once, written here; whoever unloads models clears
        it, as keys name modules by identities that new ones can get. `evict_idle`: unloads one
        model that is not among the given ones; whether there was any."""
        self._gather, self._evict_idle = gather, evict_idle
        self.most_rows = most_rows
        self._ladder = Ladder()

    def run(self, calls: Sequence[Call], parts: Parts, busy: Collection[str]) -> list[Outcome]:
        """Run `calls` of one key as one forward, or in as many as it takes. Models in `busy` have
        jobs and stay in memory. Answers in order with what did not simply fit."""
        rung = self._ladder.remembered(calls[0], parts.model)
        try:
            with relief(rung, calls[0], parts.components):
                self._gather.run(calls)
        except DeviceMemoryError as error:
            left = [call for call in calls if self._gather.parked.get(call.owner) is call]
            free_device_memory()
            if len(left) == 1:
                return [self._climb(left[0], parts, busy, error)]
            return self._halve(left, parts, busy)
        return [Outcome(call.owner, rung) for call in calls] if rung else []

    def _halve(self, calls: list[Call], parts: Parts, busy: Collection[str]) -> list[Outcome]:
        log.warning("group_halved", jobs=len(calls), module=calls[0].module_name)
        self.most_rows[calls[0].key] = sum(call.rows for call in calls) // 2
        half = len(calls) // 2
        return [
            *(Outcome(call.owner, "smaller_group") for call in calls),
            *self.run(calls[:half], parts, busy),
            *self.run(calls[half:], parts, busy),
        ]

    def _climb(
        self, call: Call, parts: Parts, busy: Collection[str], error: DeviceMemoryError
    ) -> Outcome:
        """Make a call fit that does not by itself."""
        while self._evict_idle(busy):
            if self._fits(call, "models_evicted", parts):
                return Outcome(call.owner, "models_evicted")
        for rung in rungs(call, parts.components):
            if self._fits(call, rung, parts):
                self._ladder.remember(call, parts.model, rung)
                return Outcome(call.owner, rung)
        return Outcome(call.owner, error=error)

    def _fits(self, call: Call, rung: str, parts: Parts) -> bool:
        """Run one call on `rung`; whether it fitted."""
        try:
            with relief(rung, call, parts.components):
                self._gather.run([call])
        except DeviceMemoryError:
            free_device_memory()
            return False
        log.warning("memory_ladder", rung=rung, module=call.module_name)
        return True
