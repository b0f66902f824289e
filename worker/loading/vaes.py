"""What VAEs are made to do that they do not do by themselves; worker only, knows no jobs."""

from typing import Any

import torch

UNSEEDED = frozenset(
    {
        "OmniGenPipeline",
        "StableDiffusion3ControlNetInpaintingPipeline",
        "StableDiffusion3ControlNetPipeline",
    }
)
"""Pipelines that draw an encoding from no generator that could be given to them."""
ROUNDED = frozenset({"ZImageOmniPipeline"})
"""Pipelines that hand pictures to their VAE in bfloat16, whatever that is in."""


class _OtherVAE:
    """A VAE that does something else, or more."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)


class MeanVAE(_OtherVAE):
    """A VAE whose encodings are their means, and nothing is drawn from them."""

    def encode(self, pixels: torch.Tensor) -> Any:
        encoded = self._vae.encode(pixels)
        latents = encoded.latent_dist
        encoded.latent_dist = type(latents)(latents.parameters, deterministic=True)
        return encoded


class RepeatedVAE(_OtherVAE):
    """A VAE that encodes a picture several times, to be drawn from by as many generators."""

    def __init__(self, vae: Any, times: int) -> None:
        super().__init__(vae)
        self._times = times

    def encode(self, pixels: torch.Tensor) -> Any:
        return self._vae.encode(torch.cat([pixels] * self._times))


def cast_at_edges(vae: Any, outside: torch.dtype) -> None:
    """Let a VAE in float32 be called with, and answer in, the dtype of the rest."""
    encode, decode = vae.encode, vae.decode

    def cast_encode(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = encode(x.to(vae.dtype), *args, **kwargs)
        latents = output.latent_dist
        output.latent_dist = type(latents)(latents.parameters.to(outside))
        return output

    def cast_decode(z: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = decode(z.to(vae.dtype), *args, **kwargs)
        if isinstance(output, tuple):
            return tuple(each.to(outside) for each in output)
        output.sample = output.sample.to(outside)
        return output

    vae.encode, vae.decode = cast_encode, cast_decode
