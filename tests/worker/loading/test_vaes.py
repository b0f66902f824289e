import torch

from tests import tiny
from worker.loading.vaes import MeanVAE, cast_at_edges

PIXELS = torch.zeros(1, 3, 16, 16)


def test_a_mean_is_encoded_the_same_each_time_and_all_else_is_the_vae_s() -> None:
    vae = tiny.sd15().vae
    mean = MeanVAE(vae)
    with torch.no_grad():
        own = vae.encode(PIXELS).latent_dist
        drawn = mean.encode(PIXELS).latent_dist
    assert not torch.equal(own.sample(), own.sample())
    assert torch.equal(drawn.sample(), own.mean)
    assert mean.config is vae.config


def test_a_vae_takes_and_gives_the_dtype_of_the_rest() -> None:
    vae = tiny.sd15().vae
    expected = vae.encode(PIXELS).latent_dist.mean
    cast_at_edges(vae, torch.bfloat16)
    with torch.no_grad():
        latents = vae.encode(PIXELS.bfloat16()).latent_dist.mean
        made = vae.decode(latents).sample
        [plain] = vae.decode(latents, return_dict=False)
    assert torch.equal(latents, expected.bfloat16())
    assert made.dtype == plain.dtype == torch.bfloat16
    assert vae.dtype == torch.float32
