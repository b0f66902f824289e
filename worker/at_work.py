"""Which jobs an engine is at work on, written where its supervisor still reads it when the engine
has died; both processes, knows neither torch nor Redis.

An engine that dies takes no leave: all that is left of it is a piece of memory that it shared.
"""

import mmap
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_SIZE = 8192
"""Bytes: the length of the text in the first four, then the tokens."""


class AtWork:
    """The tokens of the claims whose job may be to blame if this process dies now: those that the
    loop turned to last, and those that other threads have in hand. Safe to use from threads."""

    def __init__(self, descriptor: int = -1) -> None:
        """`descriptor`: of `shared_memory`; -1: memory that nobody else sees."""
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._lock = threading.Lock()
        self._loop: tuple[str, ...] = ()
        self._others: list[str] = []

    def turn_to(self, tokens: Iterable[str]) -> None:
        """The engine's loop works on these from now on, until it turns to others."""
        with self._lock:
            self._loop = tuple(tokens)
            self._write()

    @contextmanager
    def on(self, token: str) -> Iterator[None]:
        """Around what another thread does for a job."""
        with self._lock:
            self._others.append(token)
            self._write()
        try:
            yield
        finally:
            with self._lock:
                self._others.remove(token)
                self._write()

    def _write(self) -> None:
        text = " ".join((*self._loop, *self._others)).encode()[: _SIZE - 4]
        # A process that dies in between was at work on nothing, rather than on half a token.
        self._memory[:4] = bytes(4)
        self._memory[4 : 4 + len(text)] = text
        self._memory[:4] = len(text).to_bytes(4, "big")


def shared_memory() -> int:
    """A descriptor of memory for one engine, to hand down to it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("darkroom-at-work")
        os.ftruncate(descriptor, _SIZE)
        return descriptor
    with tempfile.TemporaryFile() as file:
        file.write(bytes(_SIZE))
        file.flush()
        return os.dup(file.fileno())


def tokens_in(descriptor: int) -> frozenset[str]:
    """What the engine that this memory was handed to was at work on when it died."""
    content = os.pread(descriptor, _SIZE, 0)
    length = int.from_bytes(content[:4], "big")
    return frozenset(content[4 : 4 + length].decode().split())
