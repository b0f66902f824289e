from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.places import cached_folder, files_of


@pytest.mark.parametrize("source", ["loras/ink.safetensors", "a.ckpt", "/gone", "./gone", "../a/b"])
def test_a_file_that_is_missing_is_not_looked_for_in_repositories(source: str) -> None:
    with pytest.raises(ModelLoadError, match="is missing: there is no such file or folder"):
        cached_folder(source, None, "model_index.json")


@pytest.mark.parametrize("source", ["nobody/none", "models/deep/down", "no such thing"])
def test_what_was_not_pulled_is_a_clear_error(source: str) -> None:
    with pytest.raises(ModelLoadError, match="models pull"):
        cached_folder(source, None, "model_index.json")


def test_a_pipeline_that_cannot_be_run_is_refused_by_its_name(tmp_path: Path) -> None:
    card = ModelCard(name="m", source="m")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model_index.json").write_text('{"_class_name": "ShapEPipeline"}')
    with pytest.raises(ModelLoadError, match="'ShapEPipeline' is not one of those"):
        files_of(card, Catalog([card], "m", tmp_path))
