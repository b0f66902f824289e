from pathlib import Path

import pytest
import torch
from PIL import Image

from darkroom.catalog import Catalog
from tests import checkers, tiny
from worker.check import check

CPU = torch.device("cpu")
TOML = """
[[models]]
name = "good"
source = "sd15"
safety = { source = "checker" }
loras = [{ name = "ink", source = "nowhere" }]
limits = { min_size = 8 }

[[models]]
name = "bad"
source = "bad"
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    tiny.write("sd15", tmp_path / "sd15")
    checkers.classifier(tmp_path / "checker")
    (tmp_path / "bad").mkdir()
    (tmp_path / "models.toml").write_text(TOML)
    return Catalog.read(tmp_path / "models.toml")


def test_a_model_that_works_has_made_a_picture(catalog: Catalog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    checked = check(catalog, catalog.cards["good"], CPU, load_only=False, output=out)
    assert checked.record.error is None
    assert checked.record.safety == "ViTForImageClassification (checker)"
    assert checked.record.faults.keys() == {"lora:ink"}
    assert checked.picture_s > 0
    assert (checked.picture_width, checked.picture_height) == (16, 16)
    assert checked.peak_bytes > 2**20
    with Image.open(out / "good.png") as picture:
        assert picture.size == (16, 16)


def test_nothing_is_written_unasked(catalog: Catalog, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    check(catalog, catalog.cards["good"], CPU, load_only=False, output=None)
    assert set(tmp_path.rglob("*")) == before


def test_a_model_can_be_loaded_only(catalog: Catalog) -> None:
    checked = check(catalog, catalog.cards["good"], CPU, load_only=True, output=None)
    assert (checked.record.error, checked.picture_s) == (None, None)


def test_a_model_that_cannot_be_loaded_says_why(catalog: Catalog) -> None:
    checked = check(catalog, catalog.cards["bad"], CPU, load_only=False, output=None)
    assert "model_index" in checked.record.error


def test_a_model_that_loads_and_makes_no_picture_says_so(catalog: Catalog, tmp_path: Path) -> None:
    config = tmp_path / "sd15" / "tokenizer" / "tokenizer_config.json"
    config.write_text(
        config.read_text().replace('"model_max_length": 16', '"model_max_length": 99')
    )
    checked = check(catalog, catalog.cards["good"], CPU, load_only=False, output=None)
    assert "sd15 loads, but makes no picture" in checked.record.error
