"""One reading for all who want it at the same time; asyncio, knows no Redis."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

REST_S = 1.0


class SharedRead(Generic[T]):
    """A value that many want at once (single flight): the first to ask reads it for all, and it
    serves everybody until it is outdated. A failure is told to those alone who waited for it."""

    def __init__(
        self, read: Callable[[], Coroutine[Any, Any, T]], *, lasts_s: float = math.inf
    ) -> None:
        """`lasts_s`: seconds after which what was read outdates itself."""
        self._read, self._lasts_s, self._read_at = read, lasts_s, 0.0
        self._reading: asyncio.Task[T] | None = None
        self._under_way: set[asyncio.Task[T]] = set()
        """Also what was outdated while it was read."""

    def outdate(self) -> None:
        """Who asks from now on gets what is read from now on."""
        self._reading = None

    async def value(self) -> T:
        """Raises what the reading raises."""
        now = asyncio.get_running_loop().time()
        if self._reading and self._reading.done() and now - self._read_at > self._lasts_s:
            self._reading = None
        if self._reading is None:
            self._read_at = now
            self._reading = asyncio.create_task(self._read())
            self._under_way.add(self._reading)
            self._reading.add_done_callback(self._end)
        # Who leaves does not take the reading away from the others.
        return await asyncio.shield(self._reading)

    async def at_rest(self) -> None:
        """Wait until nothing is being read, a second at most: who left left a reading behind."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=REST_S)

    def _end(self, reading: "asyncio.Task[T]") -> None:
        self._under_way.discard(reading)
        failed = reading.cancelled() or reading.exception() is not None
        if failed and self._reading is reading:
            self._reading = None
