"""Normalising folds into the autoencoder: unit variance, the same pictures."""

import torch
from diffusers import AutoencoderKL

from training.latents import normalise_latents


def test_fold_is_exact():
    torch.manual_seed(0)
    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4}
    down, up = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    vae = AutoencoderKL(down_block_types=down, up_block_types=up, **blocks).double().eval()
    pictures = torch.randn(16, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        before = vae.encode(pictures).latent_dist
        decoded = vae.decode(before.mean).sample
        normalise_latents(vae, before.mean)
        after = vae.encode(pictures).latent_dist
        spread = before.mean.std((0, 2, 3), keepdim=True)
        torch.testing.assert_close(after.std, before.std / spread)
        torch.testing.assert_close(vae.decode(after.mean).sample, decoded)
    torch.testing.assert_close(after.mean.mean((0, 2, 3)), torch.zeros(4).double())
    torch.testing.assert_close(after.mean.std((0, 2, 3)), torch.ones(4).double())
    assert vae.config.scaling_factor == 1.0
