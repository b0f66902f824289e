"""Noise on latents, as much as a random timestep says, and how far off a guess of it is."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noised:
    """Latents of N x C x H x W with noise, and what it was made of."""

    noise: Tensor
    timesteps: Tensor
    """N numbers."""
    kept: Tensor
    """Of the variance of the latents (alphas_cumprod), 0..1: N x 1 x 1 x 1."""
    latents: Tensor

    def losses(self, noise_pred: Tensor) -> tuple[Tensor, Tensor]:
        """The mean squared error of what a network says the noise was: weighted, and as it is."""
        error = (noise_pred.float() - self.noise).square().mean((1, 2, 3))
        return (weight_of(self.kept.flatten()) * error).mean(), error.mean()

    def clean(self, velocity: Tensor) -> Tensor:
        """The latents that are left where a network says the velocity (v-prediction)."""
        return self.kept.sqrt() * self.latents - (1 - self.kept).sqrt() * velocity


def add_noise(latents: Tensor, alphas_cumprod: Tensor) -> Noised:
    """Each latent at a timestep drawn for it."""
    noise = torch.randn_like(latents)
    timesteps = torch.randint(len(alphas_cumprod), (len(latents),), device=latents.device)
    kept = alphas_cumprod[timesteps][:, None, None, None]
    return Noised(noise, timesteps, kept, kept.sqrt() * latents + (1 - kept).sqrt() * noise)


def weight_of(kept: Tensor) -> Tensor:
    """More weight on what is mostly noise.

    What a caption decides, the colours and the subject, is decided there, but shows in the noise by
    so little that an even weight learns it last.
    """
    signal_to_noise = kept / (1 - kept)
    return (signal_to_noise + 0.01).rsqrt()
