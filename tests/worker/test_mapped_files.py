"""Which changes of files are noticed; tests/worker/test_loaded.py has what then happens."""

import os
import shutil
from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from tests.darkroom.test_single_files import write
from worker.mapped_files import are_overwritten, marks_of

WEIGHTS = {"conv_in.weight": (8, 4, 3, 3)}
FILES = ("m/unet/a.safetensors", "vae.safetensors", "net/b.safetensors", "eye/models/c.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for each in FILES:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / each, WEIGHTS)
    (tmp_path / "m" / "model_index.json").write_text(
        '{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}'
    )
    return tmp_path


def card(**more: object) -> ModelCard:
    return ModelCard(name="m", source="m", **more)


@pytest.mark.parametrize("file", FILES)
def test_what_is_written_into_a_file_is_noticed(file: str, folder: Path) -> None:
    eye = {"source": "eye", "weight_name": "models/c.safetensors"}
    nets = [{"name": "n", "source": "net"}, {"name": "away", "source": "owner/away"}]
    asked = card(vae="vae.safetensors", controlnets=nets, ip_adapter=eye)
    marks = marks_of(asked, Catalog([asked], "m", folder))
    assert not are_overwritten(marks)
    place = folder / file
    shutil.copyfile(write(folder / "other", WEIGHTS | {"more": (1,)}), place)
    assert are_overwritten(marks)


def test_a_file_that_another_took_the_place_of_is_mapped_as_it_was(folder: Path) -> None:
    marks = marks_of(card(), Catalog([card()], "m", folder))
    place = folder / FILES[0]
    os.replace(write(folder / "other", WEIGHTS | {"more": (1,)}), place)
    assert not are_overwritten(marks)
    place.unlink()
    assert not are_overwritten(marks)
