"""A running `darkroom up` with a tiny random model, for the tests that break nothing in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.catalog import Catalog
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

PIX_AND_SDXL = """
default = "pix"

[[models]]
name = "pix"
source = "weights/pix"
aliases = ["demo", "gpt-image-1"]

[[models]]
name = "sdxl"
source = "owner/sdxl-base"
scheduler = "EulerDiscreteScheduler"
tasks = ["text-to-image"]
defaults = { width = 1024, height = 1024, guidance_scale = 0.0 }
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Two models, one of them an unknown folder's, the other a repository's."""
    (tmp_path / "models.toml").write_text(PIX_AND_SDXL)
    return Catalog.read(tmp_path / "models.toml")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models.toml with one model that works."""
    folder = tmp_path_factory.mktemp("tiny-models")
    tiny.write("sd15", folder / "tiny")
    (folder / "models.toml").write_text(MODELS)
    return folder / "models.toml"


@pytest.fixture(scope="session")
def shared_up(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Iterator[RunningUp]:
    told = ("--webhooks", "--outbound-networks", "127.0.0.1/32")
    with RunningUp(tmp_path_factory.mktemp("up"), tiny_models, *told) as up:
        up.ready()
        yield up
