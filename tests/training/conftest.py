"""Fixtures for the tests of training: the font that pictures are made of, and tiny networks."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from training.data import find_font

TINY_AUTOENCODER = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 8],
    "norm_num_groups": 4,
}


@pytest.fixture(scope="session")
def font() -> Path:
    """Where it lies; without it a test is skipped."""
    try:
        return find_font()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(**TINY_AUTOENCODER).eval()
