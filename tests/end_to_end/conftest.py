"""A running Darkroom with a tiny random model, shared by the tests that do not break anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.chaos.spawn import Zygote
from tests.deployment import Deployment

MODELS = """
default = "tiny"

[[models]]
name = "tiny"
source = "tiny"
aliases = ["gpt-image-1"]
defaults = {{ num_inference_steps = 4 }}
limits = {{ min_size = 8, max_size = 64, size_multiple = 4, max_steps = 20000 }}

[[models]]
name = "broken"
source = "broken"

[[models]]
name = "unserved"
source = "tiny"
"""


@pytest.fixture(scope="session")
def models_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models: one that works, one whose folder is empty, one that no worker serves."""
    folder = tmp_path_factory.mktemp("models")
    tiny.write("sd15", folder / "tiny")
    (folder / "broken").mkdir()
    (folder / "models.toml").write_text(MODELS.format())
    return folder / "models.toml"


@pytest.fixture(scope="session")
def darkroom(tmp_path_factory: pytest.TempPathFactory, models_toml: Path) -> Iterator[Deployment]:
    """API and one worker."""
    with Deployment(tmp_path_factory.mktemp("darkroom"), models_toml) as deployment:
        deployment.start_api()
        deployment.start_worker(worker_models="tiny,broken")
        yield deployment


@pytest.fixture
def faulty(tmp_path: Path, models_toml: Path, zygote: Zygote) -> Iterator[Deployment]:
    """An API and nothing else, with short leases, for tests that kill things."""
    settings = {"worker_models": "tiny", "lease_s": 2, "keeper_interval_s": 0.2, "grace_s": 5}
    with Deployment(tmp_path / "darkroom", models_toml, zygote, **settings) as deployment:
        deployment.start_api()
        yield deployment
