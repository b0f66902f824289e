"""The client for event loops as a client that blocks, so that tests hold both to the same."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

from darkroom import AsyncClient


class Blocking:
    """Runs what it is asked on a loop of its own. A context manager."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*given, **named)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*given: Any, **named: Any) -> Any:
            asked = getattr(self._client, name)(*given, **named)
            return self._runner.run(asked) if inspect.iscoroutine(asked) else self._each(asked)

        return ask

    def _each(self, told: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                yield self._runner.run(self._next(told))
        except StopAsyncIteration:
            return
        finally:
            self._runner.run(told.aclose())

    async def _next(self, told: AsyncIterator[Any]) -> Any:
        return await anext(told)
