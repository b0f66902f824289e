"""Between the two stages: latents of unit variance, and a cache of them to train on."""

import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor

from training.data import Composition, compose
from training.run import autocast, to_tensor

CODEBOOK_SAMPLE = 65_536  # latents that a codebook is made from
CODEBOOK_ROUNDS = 10
ASLEEP = 0.01  # of the variance of the strongest axis: carries next to nothing
LOG_VARIANCE = -6.0  # of latents that begin anew: a spread of 0.05


def to_latents(autoencoder: AutoencoderKL | VQModel, pictures: Tensor) -> Tensor:
    """The likeliest latents; those of a VQModel are taken before they are quantised."""
    encoded = autoencoder.encode(pictures)
    return encoded.latents if isinstance(autoencoder, VQModel) else encoded.latent_dist.mode()


@torch.no_grad()
def encode_compositions(
    autoencoder: AutoencoderKL | VQModel, seed: int, count: int, resolution: int
) -> tuple[Tensor, list[Composition]]:
    """The latents of the first compositions of a seed, and what they show."""
    pictures, compositions = compose(seed, count, resolution)
    device = next(autoencoder.parameters()).device
    with autocast(device):
        latents = [
            to_latents(autoencoder, to_tensor(pictures[i : i + 64], device))
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


@torch.no_grad()
def normalise_quantised(vqvae: VQModel, latents: Tensor) -> None:
    """The same for a VQModel: mean 0 for every channel, variance 1 for all of them together.

    One spread for all, or another entry of the codebook might become the nearest to a latent.
    """
    mean = latents.mean((0, 2, 3))
    spread = latents.var((0, 2, 3)).mean().sqrt()
    into, out = vqvae.quant_conv, vqvae.post_quant_conv
    into.weight.div_(spread)
    into.bias.sub_(mean).div_(spread)
    vqvae.quantize.embedding.weight.sub_(mean).div_(spread)
    out.bias.add_(out.weight[:, :, 0, 0] @ mean)
    out.weight.mul_(spread)
    vqvae.register_to_config(scaling_factor=1.0)


def axes(latents: Tensor) -> tuple[Tensor, Tensor]:
    """The directions in which latents vary, one a column, the strongest first; their variances."""
    vectors = latents.movedim(1, -1).flatten(0, -2)
    variances, directions = torch.linalg.eigh(torch.cov(vectors.T))
    return directions.flip(1), variances.flip(0)


def turned_outlet(vae: AutoencoderKL, turn: Tensor) -> tuple[Tensor, Tensor]:
    """The last weight and bias of an encoder whose likeliest latents are turned, and whose 1 x 1
    convolution is taken in."""
    into, last = vae.quant_conv, vae.encoder.conv_out
    half = vae.config.latent_channels
    reduce = turn.T @ into.weight[:half, :, 0, 0]
    weight = torch.einsum("ko,oihw->kihw", reduce, last.weight)
    return weight, reduce @ last.bias + turn.T @ into.bias[:half]


@torch.no_grad()
def wake(vae: AutoencoderKL, latents: Tensor) -> int:
    """Turn the latents to their axes, and let those that carry nothing begin anew; how many.

    In early training the mean colour, three directions, takes everything, and a fourth stays at
    nothing for good. A new one is a random view of the picture that the decoder does not listen to
    yet. The spreads begin anew as well.
    """
    turn, variances = axes(latents)
    asleep = variances < ASLEEP * variances[0]
    if not asleep.any():
        return 0
    weight, bias = turned_outlet(vae, turn)
    weight[asleep] = torch.randn_like(weight[asleep]) * weight[0].std()
    bias[asleep] = 0.0
    last, into, out = vae.encoder.conv_out, vae.quant_conv, vae.post_quant_conv
    last.weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
    last.bias.copy_(torch.cat([bias, torch.full_like(bias, LOG_VARIANCE)]))
    into.weight.copy_(torch.eye(len(into.weight))[:, :, None, None])
    into.bias.zero_()
    restore = out.weight[:, :, 0, 0] @ turn
    constant = latents.mean((0, 2, 3)) @ turn
    out.bias.add_(restore[:, asleep] @ constant[asleep])
    restore[:, asleep] = 0.0
    out.weight.copy_(restore[:, :, None, None])
    return int(asleep.sum())


@torch.no_grad()
def carry_over(vae: AutoencoderKL, vqvae: VQModel, latents: Tensor) -> None:
    """Make of a VQModel the nearest thing to a finished AutoencoderKL with as many layers.

    It keeps those directions in the latents of the finished one that vary most. The convolutions on
    both sides of the latents take in the turn; all other layers are copied.
    """
    own = vqvae.state_dict()
    fitting = {k: v for k, v in vae.state_dict().items() if k in own and v.shape == own[k].shape}
    vqvae.load_state_dict(fitting, strict=False)

    kept = vqvae.config.latent_channels
    turn = axes(latents)[0][:, :kept]
    weight, bias = turned_outlet(vae, turn)
    vqvae.encoder.conv_out.weight.copy_(weight)
    vqvae.encoder.conv_out.bias.copy_(bias)

    out, first = vae.post_quant_conv, vae.decoder.conv_in
    restore = out.weight[:, :, 0, 0] @ turn
    vqvae.decoder.conv_in.weight.copy_(torch.einsum("oihw,ik->okhw", first.weight, restore))
    vqvae.decoder.conv_in.bias.copy_(first.bias + first.weight.sum((2, 3)) @ out.bias)

    identity = torch.eye(kept)[:, :, None, None]
    for convolution in (vqvae.quant_conv, vqvae.post_quant_conv):
        convolution.weight.copy_(identity)
        convolution.bias.zero_()


@torch.no_grad()
def make_codebook(latents: Tensor, size: int) -> Tensor:
    """The centres that k-means finds among the latents: size x channels.

    Training would have to find them from random ones, and most entries would never be used."""
    vectors = latents.movedim(1, -1).flatten(0, -2)
    vectors = vectors[torch.randperm(len(vectors))[:CODEBOOK_SAMPLE]]
    centres = vectors[:size].clone()
    for _ in range(CODEBOOK_ROUNDS):
        nearest = torch.cat([torch.cdist(part, centres).argmin(1) for part in vectors.split(4096)])
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        counts = torch.bincount(nearest, minlength=size)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return centres
