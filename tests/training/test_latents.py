"""Folds and turns of the latents leave the pictures as they were."""

import copy

import pytest
import torch
from diffusers import AutoencoderKL, VQModel

from training.latents import (
    axes,
    carry_over,
    make_codebook,
    normalise_latents,
    normalise_quantised,
    wake,
)

BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
}


@pytest.fixture
def pictures() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(16, 3, 16, 16, dtype=torch.float64)


@torch.no_grad()
def test_fold_is_exact(pictures):
    vae = AutoencoderKL(**BLOCKS).double().eval()
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


@torch.no_grad()
def test_quantised_fold_keeps_the_entries_that_are_nearest(pictures):
    vqvae = VQModel(**BLOCKS, num_vq_embeddings=64).double().eval()
    before = vqvae.encode(pictures).latents
    vqvae.quantize.embedding.weight.copy_(make_codebook(before, 64))
    decoded = vqvae.decode(before).sample
    normalise_quantised(vqvae, before)
    after = vqvae.encode(pictures).latents
    torch.testing.assert_close(after.mean((0, 2, 3)), torch.zeros(3).double())
    torch.testing.assert_close(after.var((0, 2, 3)).mean(), torch.tensor(1.0).double())
    torch.testing.assert_close(vqvae.decode(after).sample, decoded)


@torch.no_grad()
def test_axes_that_carry_nothing_begin_anew_and_the_others_stay(pictures):
    vae = AutoencoderKL(**BLOCKS).double().eval()
    vae.quant_conv.weight[3] = vae.quant_conv.weight[0]
    before = vae.encode(pictures).latent_dist.mean
    decoded = vae.decode(before).sample
    turn, variances = axes(before)
    assert torch.equal(variances, variances.sort(descending=True).values)

    assert wake(vae, before) == 1
    after = vae.encode(pictures).latent_dist
    strong = before.movedim(1, -1) @ turn[:, :3]
    torch.testing.assert_close(after.mean[:, :3], strong.movedim(-1, 1))
    assert axes(after.mean)[1][3] > 0.01 * variances[0]
    torch.testing.assert_close(after.std, torch.full_like(after.std, 0.0498), atol=1e-4, rtol=0)
    torch.testing.assert_close(vae.decode(after.mean).sample, decoded)
    awake = copy.deepcopy(vae.state_dict())
    assert wake(vae, after.mean) == 0
    torch.testing.assert_close(vae.state_dict(), awake, rtol=0, atol=0)


@torch.no_grad()
def test_what_fits_is_carried_over(pictures):
    vae = AutoencoderKL(**BLOCKS, latent_channels=3).double().eval()
    vqvae = VQModel(**BLOCKS, latent_channels=3).double().eval()
    latents = vae.encode(pictures).latent_dist.mode()
    carry_over(vae, vqvae, latents)
    turned = vqvae.encode(pictures).latents
    distances = [torch.cdist(*[x.flatten(1)] * 2) for x in (turned, latents)]
    torch.testing.assert_close(*distances)
    vae.post_quant_conv.bias.zero_()  # where it is not, the outermost latents decode differently
    carry_over(vae, vqvae, latents)
    decoded = vqvae.decode(turned, force_not_quantize=True).sample
    torch.testing.assert_close(decoded, vae.decode(latents).sample)


def test_codebook_finds_the_clusters():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 5.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, -7.0], [5.0, 5.0, 5.0]])
    vectors = centres.repeat(500, 1) + 0.1 * torch.randn(2000, 3)
    latents = vectors.reshape(20, 10, 10, 3).movedim(-1, 1)
    found = make_codebook(latents, 32)
    assert found.shape == (32, 3)
    assert torch.cdist(found, centres).amin(1).max() < 0.5
    assert torch.cdist(vectors, found).amin(1).mean() < 0.1
