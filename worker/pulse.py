"""How an engine's loop is doing: its state, how often it came round, whether it is stuck; the
engine's thread writes it, others read it, no torch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from darkroom.queue.workers import WorkerState


class Pulse:
    """The signs of life of one engine."""

    def __init__(self, *, step_timeout_s: float, load_timeout_s: float) -> None:
        """Seconds that one model call may take, and loading a model or a call that compiles it."""
        self._step_timeout_s, self._load_timeout_s = step_timeout_s, load_timeout_s
        self._state: WorkerState = "starting"
        self._loads: str | None = None
        self._ticks = 0
        self._ticked_at = time.monotonic()

    @property
    def state(self) -> WorkerState:
        return self._state

    @property
    def loads(self) -> str | None:
        """The model that is being loaded or compiled."""
        return self._loads

    @property
    def ticks(self) -> int:
        """How often the loop came round; a hung model call stops it."""
        return self._ticks

    @property
    def is_stuck(self) -> bool:
        """Whether one tick has taken longer than a model call or a load may."""
        loads = self._state in ("starting", "loading")
        limit = self._load_timeout_s if loads else self._step_timeout_s
        return time.monotonic() - self._ticked_at > limit

    def enter(self, state: WorkerState) -> None:
        self._state = state

    def come_round(self, state: WorkerState) -> None:
        """The loop came round, and is in this state now."""
        self._state = state
        self._ticks += 1
        self._ticked_at = time.monotonic()

    @contextmanager
    def loading(self, model: str) -> Iterator[None]:
        """Around loading a model, or a call that compiles it, which can take minutes."""
        before = self._state
        self._state, self._loads, self._ticked_at = "loading", model, time.monotonic()
        try:
            yield
        finally:
            # The time first: a call that began with the load would have taken too long.
            self._ticked_at = time.monotonic()
            self._state, self._loads = before, None
