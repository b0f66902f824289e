"""Fixtures for all tests: a real Valkey, started once and emptied before each test; a process that
forks others."""

import gc
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.queue.connection import connect
from tests.chaos import models
from tests.chaos.spawn import Zygote

# How long something takes on a machine that does other things too is no property of it.
settings.register_profile(
    "untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What tests import is no garbage: Python's collector does not look through it again and again,
    neither while it grows nor in the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server; `valkey.url` is what a process would get as DARKROOM_REDIS_URL."""
    with RedisServer(tmp_path_factory.mktemp("state")) as server:
        yield server


@pytest.fixture
def redis(valkey: RedisServer) -> Iterator[Redis]:
    """A client of the emptied server."""
    with connect(valkey.url) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        yield client


@pytest.fixture(scope="session")
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="c-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def chaos_models(short_path: Path) -> Path:
    return models.write(short_path / "models")


@pytest.fixture(scope="session")
def zygote(short_path: Path, chaos_models: Path) -> Iterator[Zygote]:
    """For tests that need workers of their own: seconds of imports less for each."""
    with Zygote(short_path, chaos_models) as zygote:
        yield zygote


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """An empty state directory, as `DARKROOM_STATE_DIR`."""
    return tmp_path / "state"
