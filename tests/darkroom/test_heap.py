import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom import heap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

BLOCKS, SIZE = 50_000, 1000


def own_mb() -> float:
    """What the process has in memory that belongs to no file."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def test_memory_freed_below_the_top_of_the_heap_goes_back() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("not glibc")
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(SIZE) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, SIZE)
    # Every hundredth stays, so that nothing but a trim gives the rest back.
    for at, block in enumerate(blocks):
        if at % 100:
            libc.free(block)
    before = own_mb()
    assert heap.give_back()
    assert before - own_mb() > 0.8 * BLOCKS * SIZE / 2**20
    for block in blocks[::100]:
        libc.free(block)


KEPT_SMALL = """
import gc, threading, weakref
from darkroom import heap

class Round:
    def __init__(self):
        self.itself = self

gc.disable()
was_there = weakref.ref(Round())
heap.keep_small()
came_later = weakref.ref(Round())
heap.give_back()
print(was_there() is not None, came_later() is not None, gc.isenabled())
print([thread.daemon for thread in threading.enumerate() if thread.name == "heap"])
"""


def test_what_nobody_needs_is_collected_but_not_what_was_there_at_the_start() -> None:
    """In a process of its own, which its thread must not keep alive."""
    done = subprocess.run(
        [sys.executable, "-c", KEPT_SMALL], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["True False True", "[True]"]


LARGE_APART = """
import ctypes, sys
from darkroom import heap

class Told(ctypes.Structure):  # mallinfo2(3)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Told
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "apart":
    heap.keep_large_apart()
before = libc.mallinfo2().hblks
libc.free(libc.malloc(heap.LARGE_BYTES))
libc.malloc(heap.LARGE_BYTES)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.parametrize(("told", "pages_of_its_own"), [("apart", "1"), ("as it is", "0")])
def test_what_is_large_gets_pages_of_its_own_also_after_some_was_freed(
    told: str, pages_of_its_own: str
) -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("not glibc, or an old one")
    done = subprocess.run(
        [sys.executable, "-c", LARGE_APART, told],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == pages_of_its_own
