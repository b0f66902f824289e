"""The ControlNet starts as nothing, and the shipped one makes pictures follow edges."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionPipeline
from PIL import Image

from darkroom.control_maps import canny
from training.controlnet import make_controlnet

MODELS = Path(__file__).parents[2] / "models"
MEGABYTES = 9
PROMPTS = ["large grinning face on a green background", "large red heart on a white background"]


@pytest.fixture(scope="module")
def emoji() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(MODELS / "emoji")


def make(pipeline, first_seed: int, **others: object) -> list[Image.Image]:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        PROMPTS,
        num_inference_steps=10,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(first_seed + i) for i in range(len(PROMPTS))],
        **others,
    ).images


def overlap(images: list[Image.Image], edges: list[Image.Image]) -> float:
    found, wanted = (
        np.stack([np.asarray(image)[..., 0] > 0 for image in images_of])
        for images_of in ([canny(image) for image in images], edges)
    )
    return (found & wanted).sum() / (found | wanted).sum()


@torch.no_grad()
def test_a_new_one_changes_nothing(emoji, tmp_path):
    torch.manual_seed(0)
    make_controlnet(emoji.unet, [4, 4, 4]).save_pretrained(tmp_path)
    controlnet = ControlNetModel.from_pretrained(tmp_path)
    noisy, text = torch.randn(1, 4, 16, 16), torch.randn(1, 24, 192)
    told = controlnet(noisy, 500, text, torch.rand(1, 3, 64, 64))
    assert not any(residual.any() for residual in told.down_block_res_samples)
    # What goes into the outlets is what the UNet itself has there.
    pooled = [net.add_embedding(text) for net in (controlnet, emoji.unet)]
    torch.testing.assert_close(*pooled)


def test_shipped_one_is_small():
    files = [path for path in (MODELS / "emoji-canny").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".md"}
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 1e6


def test_pictures_follow_the_edges(emoji):
    edges = [canny(image) for image in make(emoji, 0)]
    controlled = StableDiffusionControlNetPipeline(
        **emoji.components,
        controlnet=ControlNetModel.from_pretrained(MODELS / "emoji-canny"),
        requires_safety_checker=False,
    )
    with_control = overlap(make(controlled, 100, image=edges), edges)
    without = overlap(make(emoji, 100), edges)
    assert with_control > 2 * without
