"""How the latents of a model become the colours of an early picture; worker only, knows no jobs.

A linear map, as latents of these autoencoders are nearly pictures already: an idea of Kevin
Turner's ("Decoding latents to RGB without upscaling", discuss.huggingface.co, 2022). His numbers
are one model's; here they are fitted to the autoencoder at hand, by least squares over a picture
that it encodes.
"""

from typing import Any

import torch
from torch.nn import functional

SIDE = 128
"""Pixels of the picture that is encoded."""
PATCH = 16
"""Pixels of each of its patches: two latents at least, where one has 8 pixels to a side."""


def colours(vae: Any, device: str) -> tuple[tuple[float, ...], ...]:
    """For red, green and blue, 0 to 1: a factor for each channel of the latents, as schedulers see
    them, and a constant. `device`: where pictures are given to `vae`.

    Empty for autoencoders of other kinds, such as those of videos, and for one that is beyond its
    numbers."""
    config = getattr(vae, "config", None)
    if type(vae).__name__ != "AutoencoderKL" or config is None:
        return ()
    if config.in_channels != 3 or config.get("latents_mean") is not None:
        return ()
    picture = _picture()
    with torch.no_grad():
        given = (2 * picture - 1).to(device, vae.dtype)
        latents = vae.encode(given).latent_dist.mode().float().cpu()
    if not latents.isfinite().all():
        return ()
    latents = (latents - (config.get("shift_factor") or 0.0)) * config.scaling_factor
    small = functional.adaptive_avg_pool2d(picture, latents.shape[-2:])
    known = functional.pad(latents[0].flatten(1).T, (0, 1), value=1.0)
    fitted = torch.linalg.lstsq(known.double(), small[0].flatten(1).T.double()).solution
    return tuple(tuple(round(each, 6) for each in row) for row in fitted.T.tolist())


def _picture() -> torch.Tensor:
    """Patches of many colours, some of which run into one another: 1 x 3 x height x width, 0 to
    1."""
    drawn = torch.Generator().manual_seed(0)
    patches = SIDE // PATCH
    colours = torch.rand(1, 3, patches, patches, generator=drawn)
    hard = functional.interpolate(colours, size=(SIDE, SIDE))
    soft = functional.interpolate(colours, size=(SIDE, SIDE), mode="bilinear")
    is_hard = torch.rand(1, 1, patches // 2, patches // 2, generator=drawn) < 0.5
    return torch.where(functional.interpolate(is_hard.float(), size=(SIDE, SIDE)) > 0, hard, soft)
