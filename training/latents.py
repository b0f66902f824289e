"""Between the two stages: latents of unit variance, and a cache of them to train on."""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from training.data import Composition, compose
from training.run import autocast, to_tensor


@torch.no_grad()
def encode_compositions(
    vae: AutoencoderKL, seed: int, count: int, resolution: int, among: Sequence[int] | None = None
) -> tuple[Tensor, list[Composition]]:
    """The latents of the first compositions of a seed, and what they show."""
    pictures, compositions = compose(seed, count, resolution, among)
    device = next(vae.parameters()).device
    with autocast(device):
        latents = [
            vae.encode(to_tensor(pictures[i : i + 64], device)).latent_dist.mode()
            for i in range(0, count, 64)
        ]
    return torch.cat(latents).float(), compositions


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, latents: Tensor) -> None:
    """Fold the mean and the spread of each latent channel into the autoencoder.

    Afterwards every channel has mean 0 and variance 1, `scaling_factor` is 1, and a stock pipeline
    needs to know nothing of it. The convolutions next to the latents are 1 x 1: the fold is exact.
    """
    mean = latents.mean((0, 2, 3))
    spread = latents.std((0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight.div_(spread.repeat(2)[:, None, None, None])
    into.bias.sub_(torch.cat([mean, torch.zeros_like(mean)])).div_(spread.repeat(2))
    # The second half are log variances: they move by a constant and are not scaled.
    half = len(mean)
    into.weight[half:].mul_(spread[:, None, None, None])
    into.bias[half:].mul_(spread).sub_(2 * spread.log())
    out.bias.add_(out.weight[:, :, 0, 0] @ mean)
    out.weight.mul_(spread[None, :, None, None])
    vae.register_to_config(scaling_factor=1.0, force_upcast=False)
