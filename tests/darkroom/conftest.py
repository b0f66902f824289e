"""A running `darkroom up` with a tiny random model, for the tests that break nothing in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.running import RunningUp

MODELS = """
[[models]]
name = "tiny"
source = "tiny"
aliases = ["small"]
licence = "none"
defaults = { num_inference_steps = 4 }
limits = { min_size = 8, max_size = 64, size_multiple = 4, max_steps = 1000000 }
"""


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models.toml with one model that works."""
    folder = tmp_path_factory.mktemp("tiny-models")
    tiny.write("sd15", folder / "tiny")
    (folder / "models.toml").write_text(MODELS)
    return folder / "models.toml"


@pytest.fixture(scope="session")
def shared_up(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Iterator[RunningUp]:
    with RunningUp(tmp_path_factory.mktemp("up"), tiny_models) as up:
        up.ready()
        yield up
