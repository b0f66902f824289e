"""The device a worker runs on: which, how much memory, whether it still answers; no jobs here."""

import gc

import torch

# Fixed row counts: CUDA graphs need them, and equal counts give equal bits whoever the
# neighbours are.
ROW_COUNTS = (1, 2, 4, 6, 8, 12, 16)

_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
_LOST = ("illegal memory access", "device-side assert", "unspecified launch failure", "ECC error")


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def row_counts(device: torch.device) -> tuple[int, ...]:
    """Row counts to pad to. On a CPU padding costs as much as rows do, and jobs are few."""
    return ROW_COUNTS if device.type == "cuda" else ()


def device_memory(device: torch.device) -> dict[str, int]:
    """Bytes of the device: free, total, and allocated by this process; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    return {"free": free, "total": total, "allocated": torch.cuda.memory_allocated(device)}


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
