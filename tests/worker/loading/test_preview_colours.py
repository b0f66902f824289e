import pytest
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from tests import tiny
from worker.loading.preview_colours import colours

EMOJI = "models/emoji/vae"


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(EMOJI)


def test_latents_become_about_the_colours_that_they_are_decoded_to(vae: AutoencoderKL) -> None:
    """Of another picture than the one that the colours are learned from."""
    along = torch.linspace(0, 1, 64)
    red, green = along.expand(1, 1, 64, 64), along.expand(1, 1, 64, 64).mT
    disc = ((along - 0.5) ** 2 + (along[:, None] - 0.5) ** 2 < 0.1).float().expand(1, 1, 64, 64)
    picture = torch.cat([red, green, disc], 1)
    found = torch.tensor(colours(vae, "cpu"))
    assert found.shape == (3, vae.config.latent_channels + 1)
    with torch.no_grad():
        latents = vae.encode(2 * picture - 1).latent_dist.mode() * vae.config.scaling_factor
        decoded = vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5
    expected = functional.adaptive_avg_pool2d(decoded.clamp(0, 1), latents.shape[-2:])
    shown = torch.einsum("oc,nchw->nohw", found[:, :-1], latents) + found[:, -1:, None]
    unexplained = ((shown - expected) ** 2).sum() / ((expected - expected.mean()) ** 2).sum()
    assert unexplained < 0.15


def test_latents_are_meant_as_schedulers_see_them(vae: AutoencoderKL) -> None:
    plain = torch.tensor(colours(vae, "cpu"))
    scaled = AutoencoderKL.from_config({**vae.config, "scaling_factor": 0.5, "shift_factor": 2.0})
    scaled.load_state_dict(vae.state_dict())
    found = torch.tensor(colours(scaled, "cpu"))
    assert torch.allclose(found[:, :-1], plain[:, :-1] / 0.5, atol=1e-3)
    constant = plain[:, -1] + 2.0 * plain[:, :-1].sum(1)
    assert torch.allclose(found[:, -1], constant, atol=1e-2)


def test_other_autoencoders_have_no_colours(vae: AutoencoderKL) -> None:
    assert colours(None, "cpu") == ()
    assert colours(tiny.ldm().vqvae, "cpu") == ()
    assert (
        colours(AutoencoderKL(in_channels=4, norm_num_groups=4, block_out_channels=(4,)), "cpu")
        == ()
    )
    broken = AutoencoderKL.from_config(vae.config)
    next(broken.parameters()).data.fill_(float("nan"))
    assert colours(broken, "cpu") == ()
