"""The shipped model is an ordinary diffusers folder, and does what it is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from safetensors.torch import load_file

from training.export import swap_in

MODEL = Path(__file__).parents[2] / "models" / "emoji"
MEGABYTES = 24


@pytest.fixture(scope="module")
def pipeline():
    loaded = DiffusionPipeline.from_pretrained(MODEL)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_only_safetensors_and_small():
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".txt"}
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 1e6


def test_prompts_set_the_background(pipeline):
    prompts = {
        "large rocket on a blue background": (60, 120, 220),
        "strawberry on a white background": (255, 255, 255),
        "large cat face on a green background": (70, 175, 90),
        "hamburger on a red background": (220, 50, 47),
    }
    pictures = pipeline(
        list(prompts),
        num_inference_steps=15,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
    ).images
    for picture, colour in zip(pictures, prompts.values(), strict=True):
        assert picture.size == (64, 64)
        pixels = np.asarray(picture, dtype=float)
        corners = np.stack([pixels[y, x] for y in (1, -2) for x in (1, -2)])
        assert np.abs(np.median(corners, axis=0) - colour).max() < 40


def test_newer_model_takes_the_place_of_the_older_and_keeps_its_card(vae, tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "README.md").write_text("the card")
    (target / "left-over.bin").touch()
    size = swap_in(vae, target)
    names = {"README.md", "config.json", "diffusion_pytorch_model.safetensors"}
    assert {path.name for path in target.iterdir()} == names
    assert size == sum(path.stat().st_size for path in target.iterdir())
    assert (target / "README.md").read_text() == "the card"
    assert list(tmp_path.iterdir()) == [target]

    tensors = load_file(target / "diffusion_pytorch_model.safetensors").values()
    assert {tensor.dtype for tensor in tensors} == {torch.float16}
    swap_in(AutoencoderKL.from_pretrained(target), target)
    assert "_name_or_path" not in (target / "config.json").read_text()
