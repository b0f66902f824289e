import subprocess
import sys

import pytest
import torch

from worker import device


def test_auto_is_cuda_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert device.pick_device("auto").type == expected
    assert device.pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("count", "name", "words"),
    [(0, "cuda", "sees no|built for the CPU"), (2, "cuda:2", "sees 2 CUDA devices, numbered")],
)
def test_a_device_that_is_not_there_is_named(
    count: int, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(device.NoDeviceError, match=f"no device {name} .*{words}"):
        device.pick_device(name)
    if count:
        assert device.pick_device("cuda:1") == torch.device("cuda", 1)
        assert device.pick_device("auto") == torch.device("cuda")


def test_row_counts_are_padded_on_cuda_only() -> None:
    assert device.row_counts(torch.device("cuda")) == (1, 2, 4, 6, 8, 12, 16)
    assert device.row_counts(torch.device("cpu")) == ()


def test_full_memory_is_told_from_other_faults() -> None:
    allocator = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
    for error in (torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(allocator)):
        assert device.is_out_of_memory(error)
        assert not device.device_is_lost(error)
    assert not device.is_out_of_memory(ValueError("out of memory"))


def test_a_lost_device_is_told_from_a_full_one() -> None:
    assert device.device_is_lost(RuntimeError("CUDA error: an illegal memory access was ..."))
    assert not device.device_is_lost(RuntimeError("shapes differ"))
    assert not device.device_is_lost(None)


def test_a_cpu_tells_no_device_memory() -> None:
    device.free_device_memory()
    assert device.device_memory(torch.device("cpu")) == {}


def test_a_cpu_has_room_without_end() -> None:
    assert device.room_left(torch.device("cpu"), head_room=True) == float("inf")


PEAKS = """
import torch
from worker import device

cpu = torch.device("cpu")
device.start_peak(cpu)
print(device.peak(cpu))
taken = torch.ones(64 * 2**20, dtype=torch.uint8)
print(device.peak(cpu))
del taken
device.start_peak(cpu)
print(device.peak(cpu))
"""


def test_the_peak_counts_from_its_start() -> None:
    """In a process of its own: here, what other tests have left may be freed at the same time."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, check=True)
    before, with_tensor, after = map(int, done.stdout.split())
    assert with_tensor - before > 0.9 * 64 * 2**20
    assert after - before < 0.5 * 64 * 2**20
