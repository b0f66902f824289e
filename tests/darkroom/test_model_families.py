"""Which family a model is of."""

from pathlib import Path

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.model_families import family_of, family_of_class
from tests import published
from tests.darkroom.test_single_files import write


def test_the_family_of_a_listed_model_is_told_by_its_files(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", published.checkpoint(published.SDXL))
    folder = tmp_path / "flux"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    sources = {"one": "m.safetensors", "two": "flux", "three": "a/b"}
    cards = [ModelCard(name=name, source=source) for name, source in sources.items()]
    catalog = Catalog(cards, "one", tmp_path)
    assert [family_of(catalog, card) for card in cards] == ["sdxl", "flux-dev", None]


def test_a_class_of_several_families_tells_none() -> None:
    assert family_of_class("StableDiffusionXLInpaintPipeline") == "sdxl"
    assert family_of_class("StableDiffusionPipeline") is None
    assert family_of_class(None) is None
