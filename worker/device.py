"""The device a worker runs on: which, how much memory, whether it still answers; no jobs here."""

import gc
import resource
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from darkroom.errors import DarkroomError

# Fixed row counts: CUDA graphs need them, and equal counts give equal bits whoever the
# neighbours are.
ROW_COUNTS = (1, 2, 4, 6, 8, 12, 16)

HEAD_ROOM = 0.1
"""The share of the device's memory that loading a model leaves free for calls, if it can."""

_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
_LOST = ("illegal memory access", "device-side assert", "unspecified launch failure", "ECC error")


class NoDeviceError(DarkroomError):
    """The device that was asked for is not there; the message says what to do."""

    code = "no_device"


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one. Raises NoDeviceError."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(name if name != "auto" else "cuda" if count else "cpu")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise NoDeviceError(
            f"There is no device {name} (--device, DARKROOM_DEVICE): {_cuda_in_words(count)}. "
            "Ask for another device, or see what `darkroom doctor` says of CUDA."
        )
    return device


def _cuda_in_words(count: int) -> str:
    if count:
        return f"torch sees {count} CUDA device{'s' * (count > 1)}, numbered from 0"
    return "torch sees no CUDA device" if torch.version.cuda else "this torch is built for the CPU"


def row_counts(device: torch.device) -> tuple[int, ...]:
    """Row counts to pad to. On a CPU padding costs as much as rows do, and jobs are few."""
    return ROW_COUNTS if device.type == "cuda" else ()


def device_memory(device: torch.device) -> dict[str, int]:
    """Bytes of the device: free, total, and allocated by this process; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {"free": free, "total": total, "allocated": torch.cuda.memory_allocated(device)}


def room_left(device: torch.device, *, head_room: bool = False) -> float:
    """Bytes that weights can take on the device, `head_room` for calls left free if asked for;
    without end on a CPU."""
    if device.type != "cuda":
        return float("inf")
    free, total = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + cached - (HEAD_ROOM * total if head_room else 0)


def size(device: torch.device) -> float:
    """Bytes of the device's memory; without end on a CPU."""
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else float("inf")


def is_shared(device: torch.device) -> bool:
    """Whether others take a part of its memory that matters, as on a CPU they always may."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device) > HEAD_ROOM * total


def start_peak(device: torch.device) -> None:
    """Begin anew to measure `peak`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux alone has it
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int:
    """The most bytes in use since `start_peak`: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or the host, had no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)


def free_device_memory() -> None:
    """Give back what only cycles and caches hold."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_is_lost(error: BaseException | None) -> bool:
    """Whether nothing can run on the device in this process any more."""
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST)


Heard = Callable[[float], None]
"""Is told of seconds."""


class Stopwatch:
    """Times work on the device, in the order in which it is given, and never waits for it: on CUDA
    the host runs ahead, so that times are told when they are known. On a CPU they are those of this
    thread alone: what else runs on the machine shall not make some passes look dearer than others.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._open: deque[tuple[torch.cuda.Event, torch.cuda.Event, Heard]] = deque()

    def time(self, work: Callable[[], bool], heard: Heard) -> None:
        """Do `work`, and tell how long it took unless it says that this is not worth knowing."""
        if self._is_cuda:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            if work():
                end.record()
                self._open.append((begin, end, heard))
            return
        began = time.thread_time()
        if work():
            heard(time.thread_time() - began)

    def tell(self) -> None:
        """Tell what has become known since."""
        while self._open and self._open[0][1].query():
            begin, end, heard = self._open.popleft()
            heard(begin.elapsed_time(end) / 1000)
