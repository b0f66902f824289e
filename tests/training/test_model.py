"""The shipped model is an ordinary diffusers folder, and does what it is told."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

MODEL = Path(__file__).parents[2] / "models" / "emoji"
MEGABYTES = 24


@pytest.fixture(scope="module")
def pipeline():
    loaded = DiffusionPipeline.from_pretrained(MODEL)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_only_safetensors_and_small():
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md"}
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
