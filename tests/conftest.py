"""Fixtures for all tests: a real Valkey, started once and emptied before each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.queue.connection import connect

# How long something takes on a machine that does other things too is no property of it.
settings.register_profile(
    "untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")


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


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """An empty state directory, as `DARKROOM_STATE_DIR`."""
    return tmp_path / "state"
