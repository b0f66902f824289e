import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles, PartFiles
from tests import tiny
from worker.gathering.gather import Gather
from worker.loading.memory import expected_bytes, held_bytes, in_words
from worker.loading.weights import modules_of

WEIGHTS = "diffusion_pytorch_model.safetensors"


def card(folder: Path, **more: object) -> ModelCard:
    return ModelCard(name="m", source=str(folder), **more)


@pytest.mark.parametrize("family", ["sd15", "sd35", "super-resolution"])
def test_headers_tell_what_a_loaded_model_holds(family: str, tmp_path: Path) -> None:
    model = tiny.load(family, tmp_path, Gather())
    parts = expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float32)
    for name, module in modules_of(model.components):
        held = held_bytes([module])
        assert abs(parts[name] - held) <= 0.02 * held, name
    assert parts.keys() == {name for name, _ in modules_of(model.components)}


def test_narrow_numbers_take_less_except_in_a_vae_of_float16(tmp_path: Path) -> None:
    tiny.write("sd15", tmp_path)
    wide = expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float32)
    half = expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float16)
    brain = expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.bfloat16)
    assert half["unet"] == brain["unet"] == wide["unet"] // 2
    assert (half["vae"], brain["vae"]) == (wide["vae"], wide["vae"] // 2)


def test_what_is_left_out_or_replaced_does_not_count(tmp_path: Path) -> None:
    tiny.write("sd35", tmp_path)
    whole = expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float32)
    less = expected_bytes(card(tmp_path, text_encoders=False), ModelFiles(tmp_path), torch.float32)
    assert whole.keys() - less.keys() == {"text_encoder_3"}
    other = expected_bytes(
        card(tmp_path), ModelFiles(tmp_path), torch.float32, vae=PartFiles(tmp_path / "transformer")
    )
    assert other["vae"] == whole["transformer"]


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0[]", b"12345678{"])
def test_a_damaged_file_counts_for_nothing(content: bytes, tmp_path: Path) -> None:
    tiny.write("sd15", tmp_path)
    (tmp_path / "unet" / WEIGHTS).write_bytes(content)
    assert "unet" not in expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float32)
    (tmp_path / "model_index.json").write_text(json.dumps([]))
    assert expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float32) == {}


def test_numbers_that_are_no_floats_keep_their_size(tmp_path: Path) -> None:
    tiny.write("sd15", tmp_path)
    before = expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float16)["unet"]
    file = tmp_path / "unet" / WEIGHTS
    save_file(load_file(file) | {"ids": torch.zeros(1000, dtype=torch.int64)}, file)
    assert (
        expected_bytes(card(tmp_path), ModelFiles(tmp_path), torch.float16)["unet"] == before + 8000
    )


def test_shared_tensors_are_counted_once() -> None:
    layer = torch.nn.Linear(10, 10, bias=False)
    assert held_bytes([layer, layer, torch.nn.Sequential(layer)]) == 400


def test_sizes_are_said_in_words() -> None:
    assert (in_words(3 * 2**30), in_words(2**20)) == ("3.0 GiB", "1.0 MiB")
