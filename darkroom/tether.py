"""Ties child processes to this one, so that none is left behind; knows only the system."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

_PR_SET_PDEATHSIG = 1


def tether(number: int = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` that has the kernel send the child a signal when its parent dies, however
    that dies. Linux only; None elsewhere. Start such children from the main thread: the kernel
    looks at the thread that started them."""
    if sys.platform != "linux":
        return None
    return partial(_tie, ctypes.CDLL(None), os.getpid(), number)


def tie_to(parent: int) -> None:
    """The same for a child that ties itself, with SIGKILL: a process of several threads cannot
    safely run Python between fork and exec."""
    if sys.platform == "linux":
        _tie(ctypes.CDLL(None), parent, signal.SIGKILL)


def _tie(libc: ctypes.CDLL, parent: int, number: int) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the line above
        os.kill(os.getpid(), number)
