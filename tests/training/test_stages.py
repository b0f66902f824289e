"""Every stage runs from nothing, in the order that training/README.md gives, for a few steps."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from training import autoencoder, classifier, controlnet, diffusion, export, upscale
from training.latents import axes, encode_compositions
from training.run import RUNS, read_config

SHORT = {
    "steps": 6,
    "batch_size": 2,
    "warmup_steps": 1,
    "pictures": 8,
    "measured_pictures": 16,
    "sample_every": 4,
    "sample_steps": 1,
    "save_every": 4,
    "log_every": 1,
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def short(stage: str, **others: object) -> dict:
    return read_config(stage) | SHORT | others


@pytest.mark.long
@pytest.mark.usefixtures("font")
def test_all_stages_one_after_the_other() -> None:
    classifier.train("classifier", short("classifier"))

    losses_from = {"perceptual_from": 3, "adversarial_from": 4}
    autoencoder.train(short("autoencoder", wake_at=2, **losses_from))
    vae = AutoencoderKL.from_pretrained(RUNS / "vae")
    latents, _ = encode_compositions(vae, 1, 16, 64)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=0.1, rtol=0)
    assert axes(latents)[1].isfinite().all()

    diffusion.train(short("diffusion"))
    settings = short("diffusion")
    export.swap_in(export.assemble(settings), Path("models/emoji"))
    assert StableDiffusionPipeline.from_pretrained("models/emoji").dtype == torch.float32
    assert not [c for c in Path("models").rglob("config.json") if "_name_or_path" in c.read_text()]
    diffusion.train(short("diffusion", steps=8, begin_from="models/emoji"))

    controlnet.train(short("controlnet"))
    vq = read_config("vq")
    vq["model"] |= {"num_vq_embeddings": 64}
    autoencoder.train(vq | SHORT | {"resolution": 64})
    upscale.train(short("upscale", pixels_after=0.5, pixel_batch_size=1, resolution=64))
