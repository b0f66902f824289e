"""Standard output and error that neither fail nor wait; used by all processes that run for long,
knows only the system.

A full disk, a closed terminal or a pipe that nobody reads costs lines, not the process.
"""

import io
import os
import select
import stat
import sys
import threading
from contextlib import suppress
from typing import Any, TextIO

PATIENCE_S = 0.1
"""How long a line waits for a reader who is behind; those after it do not, until it reads on."""


def guard() -> None:
    """Put such streams in place of the process's own. To be called before anything else is opened:
    what a process is started without gets a descriptor, as the next file would get its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout, sys.stderr = _guarded(1, sys.stdout), _guarded(2, sys.stderr)


def _guarded(descriptor: int, before: TextIO | None) -> TextIO:
    encoding = getattr(before, "encoding", None) or "utf-8"
    out = Unfailing(descriptor)
    # As Any: typeshed asks for a buffer that can be read too.
    raw: Any = out
    return io.TextIOWrapper(raw, encoding, errors="backslashreplace", line_buffering=True)


class Unfailing(io.RawIOBase):
    """Writes to a descriptor what can be written at once. What cannot is lost, and the next write
    that succeeds says how much that was."""

    def __init__(self, descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(mode)
        self._out = _without_waiting(descriptor) if stat.S_ISFIFO(mode) else descriptor
        # Entered anew where what is written here has a finaliser run that logs.
        self._lock = threading.RLock()
        self._lost = 0
        self._torn = False
        self._behind = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Raises nothing; all of `data` counts as written."""
        text = bytes(data)
        with self._lock:
            before = b"\n" if self._torn else b""
            if self._lost:
                before += b"Before this, %d writes failed.\n" % self._lost
            self._write(before + text)
        return len(text)

    def _write(self, data: bytes) -> None:
        rest = data
        try:
            while rest and self._takes_some():
                rest = rest[os.write(self._out, rest if self._is_file else rest[:_AT_ONCE]) :]
        except OSError:
            self._behind = True
        self._torn = bool(rest) and (self._torn or rest != data)
        self._lost = self._lost + 1 if rest else 0

    def _takes_some(self) -> bool:
        """Whether a write will not wait. A file never makes one wait for somebody."""
        if self._is_file:
            return True
        poll = select.poll()
        poll.register(self._out, select.POLLOUT)
        self._behind = not poll.poll(0 if self._behind else PATIENCE_S * 1000)
        return not self._behind


_AT_ONCE = select.PIPE_BUF
"""Bytes that a pipe which takes some takes whole."""


def _without_waiting(pipe: int) -> int:
    """The same pipe, opened anew so as never to wait: the descriptor we were given may be shared
    with others, for whom that would be changed too, and who may fill the pipe at any moment."""
    with suppress(OSError):
        return os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return pipe
