"""Pictures go through the latents and back; what is saved has latents of unit variance."""

import pytest
import torch
from diffusers import AutoencoderKL, VQModel

from tests.training.conftest import TINY_AUTOENCODER
from training.autoencoder import (
    encode_measured,
    make_autoencoder,
    pass_through,
    psnr,
    reconstruct,
    save_normalised,
    train_critic,
)
from training.losses import Critic
from training.run import RUNS

CONFIG = {"seed": 1, "measured_pictures": 32, "resolution": 16, "result": "there"}


@pytest.fixture
def pictures() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(17, 3, 16, 16) * 2 - 1


def test_psnr_is_the_mean_over_pictures():
    black = torch.full((2, 3, 4, 4), -1.0)
    output = black.clone()
    output[0] += 0.2  # a tenth of the range: 20 dB
    output[1] += 0.02
    assert psnr(output, black) == pytest.approx(30, abs=1e-3)


def test_only_in_training_latents_are_drawn(vae, pictures):
    with torch.no_grad():
        still = [pass_through(vae, pictures)[0] for _ in range(2)]
        vae.train()
        drawn = [pass_through(vae, pictures)[0] for _ in range(2)]
    assert torch.equal(*still)
    assert not torch.equal(*drawn)
    torch.testing.assert_close(reconstruct(vae, pictures), still[0].clamp(-1, 1))
    assert vae.training


@pytest.mark.usefixtures("font")
def test_vq_begins_with_a_codebook_of_the_finished_ones_latents(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    model = TINY_AUTOENCODER | {"latent_channels": 3, "num_vq_embeddings": 16}
    vqvae = make_autoencoder(CONFIG | {"kind": "vq", "model": model, "begin_from": str(tmp_path)})
    assert isinstance(vqvae, VQModel)
    latents = encode_measured(vqvae, CONFIG).movedim(1, -1).flatten(0, -2)
    entries = vqvae.quantize.embedding.weight
    unexplained = torch.cdist(latents, entries).amin(1).square().mean()
    assert unexplained < 0.3 * latents.var(0).sum()


@pytest.mark.usefixtures("font")
def test_saved_latents_have_unit_variance(vae, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_normalised(vae, CONFIG)
    latents = encode_measured(AutoencoderKL.from_pretrained(RUNS / "there"), CONFIG)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=0.05, rtol=0)


def test_critic_learns_to_tell_pictures_apart(pictures):
    critic = Critic(8)
    optimizer = torch.optim.AdamW(critic.parameters(), lr=0.01)
    losses = [train_critic(critic, optimizer, pictures, pictures * 0.1) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
