"""One thread for torch, as tests share their machine; a queue and a store for engine threads."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from redis import Redis

from darkroom.images import ImageStore
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def jobs(redis: Redis) -> Queue:
    return Queue(redis, Rules(lease_s=30))


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path)
