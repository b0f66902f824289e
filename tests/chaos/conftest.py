"""Fixtures of the chaos tests: one Darkroom for each, all of them forked from one zygote."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.house import House
from tests.chaos.spawn import Zygote

if sys.platform != "linux":  # they look at processes as Linux shows them
    collect_ignore = ["test_storm.py", "test_scenarios.py"]

Build = Callable[..., House]


@pytest.fixture
def build(
    zygote: Zygote, chaos_models: Path, short_path: Path, request: pytest.FixtureRequest
) -> Iterator[Build]:
    """Makes a house with an API, a keeper and nothing else; its settings as given."""
    with ExitStack() as undo:

        def make(**settings: Any) -> House:
            folder = short_path / f"{abs(hash(request.node.name)) % 10**8}"
            house = undo.enter_context(House(zygote, folder, chaos_models, **settings))
            house.start_keeper()
            house.start_api()
            return house

        yield make
