"""Memory that a process needs no more goes back to the system; used by those that run for long,
knows only Python and the C library.

Objects that refer to one another in a circle are found by Python's collector alone, which looks at
all there is only once a quarter as much has come: the more a process has imported, the later, and
the longer it stands still for that. So what was there at the start is left out. And glibc keeps
what is freed below the top of its heap until it is asked for it: see malloc_trim(3).

Tables that are rebuilt now and then (Python's own of its strings has 1.8 MiB in the service) leave
a hole that small things settle in, each time: 5.5 MiB after three times. With pages of their own,
see M_MMAP_THRESHOLD in mallopt(3), nothing is left of them.
"""

import ctypes
import gc
import threading
import time

EVERY_S = 60.0
LARGE_BYTES = 2**20
_M_MMAP_THRESHOLD = -3


def keep_small() -> None:
    """Give memory back once a minute from now on, in a thread that ends with the process. To be
    called once all is imported: what is there now is never collected, all else is, even if the
    collector was switched off until now."""
    gc.freeze()
    gc.enable()
    threading.Thread(target=_keep_small, name="heap", daemon=True).start()


def keep_large_apart() -> None:
    """From now on what has `LARGE_BYTES` and more gets pages of its own, which go back as soon as
    it is freed. glibc gives them to such things only until it has seen some freed. Not for who
    computes: new pages for each tensor take time."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back() -> bool:
    """Collect what is needed no more, and give back what is free now. Returns whether the C library
    can do so: other than glibc, none does on request."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return trim is not None


def _keep_small() -> None:
    while True:
        give_back()
        time.sleep(EVERY_S)
