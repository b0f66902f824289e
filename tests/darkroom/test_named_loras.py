from pathlib import Path

import pytest

from darkroom import named_loras
from darkroom.cards import LoraCard
from darkroom.catalog import Catalog, ModelCard
from darkroom.errors import ModelNotFoundError
from darkroom.lora_folder import LoraFolder
from darkroom.offers import ModelRecord, offer
from tests.darkroom.test_lora_folder import put

CARD = ModelCard(name="sdxl", source="sdxl", loras=[LoraCard(name="ink", source="ink")])
LORAS = """
[[models]]
name = "sdxl"
source = "owner/sdxl-base"
loras = [{ name = "ink", source = "ink.safetensors" }, { name = "oil-1.5", source = "oil" }]
[[models]]
name = "odd"
source = "owner/a+b"
"""


def test_loras_can_be_named_with_their_model(tmp_path):
    (tmp_path / "models.toml").write_text(LORAS)
    catalog = Catalog.read(tmp_path / "models.toml")
    named = {
        name: (card.name, loras)
        for name in ("sdxl", "sdxl+ink", "owner/sdxl-base+ink+oil-1.5", "owner/a+b", None)
        for card, loras in [named_loras.find(catalog, name)]
    }
    assert [*named.values()] == [
        ("sdxl", ()),
        ("sdxl", ("ink",)),
        ("sdxl", ("ink", "oil-1.5")),
        ("odd", ()),
        ("sdxl", ()),
    ]
    for name, near in {
        "sdxl+inc": ("sdxl+ink",),
        "sdxxl+ink": ("sdxl",),
        "+": (),
        "sdxl+": (),
    }.items():
        with pytest.raises(ModelNotFoundError) as caught:
            named_loras.find(catalog, name)
        assert caught.value.near == near


def test_uploads_are_offered_beside_what_the_card_names(tmp_path: Path) -> None:
    folder = LoraFolder(tmp_path)
    put(folder, "oil")
    put(folder, "ink")
    catalog = Catalog([CARD], "sdxl", folder.root, uploads=folder)
    assert named_loras.with_uploads(catalog, CARD).loras[0].source == "ink"
    assert named_loras.find(catalog, "sdxl+oil") == (CARD, ("oil",))
    record = ModelRecord(
        name="sdxl",
        tasks=("text-to-image",),
        schedulers=("DDIMScheduler",),
        pipeline="StableDiffusionXLPipeline",
    )
    for known in (record, record.model_copy(update={"loras": ("ink",)})):
        told = offer(catalog, CARD, known)
        assert sorted(told.loras) == ["ink", "oil"]
        assert "loras" in told.takes("text-to-image")
        assert [each.name for each in told.card.loras] == ["ink", "oil"]
    assert offer(Catalog([CARD], "sdxl", folder.root), CARD, record).loras == ("ink",)
