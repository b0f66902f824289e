"""Folders that no worker would read get no card."""

import json
from pathlib import Path
from typing import Any

import pytest

from darkroom.catalog import Catalog
from darkroom.command.examining import examined
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from tests.darkroom.test_single_files import write

WEIGHTS = "diffusion_pytorch_model.safetensors"
UNET = ["diffusers", "UNet2DConditionModel"]


def examine(folder: Path, index: dict[str, Any], shards: dict[str, str] | None = None) -> Any:
    (folder / "m" / "unet").mkdir(parents=True)
    whole = {"_class_name": "StableDiffusionPipeline", "unet": UNET, **index}
    (folder / "m" / "model_index.json").write_text(json.dumps(whole))
    if shards is None:
        write(folder / "m" / "unet" / WEIGHTS, {"conv_in.weight": (8, 4, 3, 3)})
    else:
        at = folder / "m" / "unet" / f"{WEIGHTS}.index.json"
        at.write_text(json.dumps({"weight_map": shards}))
    card = ModelCard(name="m", source="m")
    return examined(Catalog([card], "m", folder), card)


def test_of_a_model_that_can_be_read_is_told_what_it_does_and_takes(tmp_path: Path) -> None:
    does, takes = examine(tmp_path, {})
    assert does.startswith("text-to-image, ")
    assert takes.startswith("weights take 0.0 GiB")


@pytest.mark.parametrize(
    ("index", "shards", "said"),
    [
        ({"../../unet": UNET}, None, "names a part '../../unet', which is no name"),
        ({}, {"a": "../../../x.safetensors"}, "which lies outside its folder"),
        ({}, {"a": "/etc/passwd"}, "could run code when it is read"),
        ({}, {}, "m: its unet holds no .safetensors"),
        ({"_class_name": "JoyImageEditPipeline"}, None, "diffusers' JoyImageEditPipeline is not"),
    ],
)
def test_what_no_worker_would_read_is_refused_with_the_reason(
    index: dict[str, Any], shards: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError, match=said):
        examine(tmp_path, index, shards)
