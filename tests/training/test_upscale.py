"""The shipped model enlarges better than bicubic interpolation, and at sizes it never saw."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, LDMSuperResolutionPipeline
from PIL import Image

from training.data import compose
from training.upscale import enlarge, measure, resize

MODEL = Path(__file__).parents[2] / "models" / "emoji-upscale"
MEGABYTES = 9
SEED = 7


@pytest.fixture(scope="module")
def pipeline() -> LDMSuperResolutionPipeline:
    loaded = DiffusionPipeline.from_pretrained(MODEL)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture
def large() -> np.ndarray:
    return compose(SEED, 4, 128)[0]


def test_it_is_small():
    files = [path for path in MODEL.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json", ".md"}
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 1e6


@pytest.mark.usefixtures("font")
def test_better_than_bicubic(pipeline, large):
    small = resize(large, 1 / 4)
    ours = measure(partial(enlarge, pipeline, steps=4), small, large)
    assert ours > measure(partial(resize, factor=4), small, large) + 0.5


def test_other_sizes_keep_their_colours(pipeline):
    image = Image.new("RGB", (96, 64), (60, 120, 220))
    result = pipeline(
        image, num_inference_steps=2, generator=torch.Generator().manual_seed(0)
    ).images[0]
    assert result.size == (384, 256)
    middle = np.asarray(result)[64:-64, 64:-64].reshape(-1, 3).mean(0)
    assert np.abs(middle - (60, 120, 220)).max() < 25
