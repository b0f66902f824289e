"""Fixtures of the chaos tests: one zygote for all of them, one Darkroom for each."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import models
from tests.chaos.house import House
from tests.chaos.spawn import Zygote

if sys.platform != "linux":  # they look at processes as Linux shows them
    collect_ignore = ["test_storm.py", "test_scenarios.py"]

Build = Callable[..., House]


@pytest.fixture(scope="session")
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="c-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def models_toml(short_path: Path) -> Path:
    return models.write(short_path / "models")


@pytest.fixture(scope="session")
def zygote(short_path: Path, models_toml: Path) -> Iterator[Zygote]:
    with Zygote(short_path, models_toml) as zygote:
        yield zygote


@pytest.fixture
def build(
    zygote: Zygote, models_toml: Path, short_path: Path, request: pytest.FixtureRequest
) -> Iterator[Build]:
    """Makes a house with an API, a keeper and nothing else; its settings as given."""
    with ExitStack() as undo:

        def make(**settings: Any) -> House:
            folder = short_path / f"{abs(hash(request.node.name)) % 10**8}"
            house = undo.enter_context(House(zygote, folder, models_toml, **settings))
            house.start_keeper()
            house.start_api()
            return house

        yield make
