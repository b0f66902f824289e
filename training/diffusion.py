"""Stage 2: a UNet that learns to take noise out of latents, told by a caption what is in them."""

import random
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from training.data import Composition, describe, load_pictures
from training.latents import encode_compositions
from training.learner import Learner
from training.noise import add_noise
from training.run import (
    RUNS,
    Run,
    autocast,
    choose_device,
    read_settings,
    save_sheet,
    stage_parser,
)
from training.text import make_text_encoder, tokenize, train_tokenizer

SAMPLE_PROMPTS = (
    ("a rocket", "cat", "large grinning face", "pizza", "banana", "car", "red heart", "tree"),
    (
        "large rocket on a blue background",
        "small strawberry on a white background",
        "large frog face on a pink background",
        "small sunflower on a black background",
        "large blue cat face on a yellow background",
        "fire engine on a gray background",
        "penguin on a purple background",
        "a hamburger on a green background",
    ),
    (
        "robot on an orange background",
        "bicycle on a red background",
        "crown on a black background",
        "teddy bear on a green background",
        "green turtle on a white background",
        "large purple guitar on a white background",
        "mushroom on a blue background",
        "smiling face with sunglasses on a pink background",
    ),
)


class Denoiser(nn.Module):
    """The two networks that are trained together."""

    def __init__(self, config: dict, latent_channels: int) -> None:
        super().__init__()
        self.tokenizer = train_tokenizer(config["caption_length"])
        self.text_encoder = make_text_encoder(self.tokenizer, config["text_encoder"])
        self.unet = UNet2DConditionModel(
            in_channels=latent_channels, out_channels=latent_channels, **config["unet"]
        )

    def forward(self, latents: Tensor, timesteps: Tensor, token_ids: Tensor) -> Tensor:
        return self.unet(latents, timesteps, self.text_encoder(token_ids)[0]).sample


def load_networks(denoiser: Denoiser, folder: Path) -> None:
    """Take over what a finished model has learnt; the latents have to be much like its own.

    Raises ValueError where its tokenizer has other words than the captions need.
    """
    if CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab() != (
        denoiser.tokenizer.get_vocab()
    ):
        raise ValueError(
            f"{folder} knows other words than the vocabulary gives: start from nothing"
        )
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    denoiser.unet.load_state_dict(unet.state_dict())
    denoiser.text_encoder.load_state_dict(text_encoder.state_dict())


def load_autoencoder(device: torch.device) -> AutoencoderKL:
    vae = AutoencoderKL.from_pretrained(RUNS / "vae").to(device)
    return vae.eval().requires_grad_(False)


def make_pipeline(denoiser: Denoiser, vae: AutoencoderKL, config: dict) -> StableDiffusionPipeline:
    """A stock pipeline around the networks: samples are made the way everybody will make them."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.unet,
        scheduler=DDIMScheduler(**config["scheduler"]),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_captions(
    compositions: Iterable[Composition], dropout: float, rng: random.Random
) -> list[str]:
    """A fresh caption for each; some are empty, so that guidance has something to compare with."""
    pictures = load_pictures()
    return [
        "" if rng.random() < dropout else describe(c, pictures[c.picture].names, rng)
        for c in compositions
    ]


def save_samples(path: Path, denoiser: Denoiser, vae: AutoencoderKL, config: dict) -> None:
    prompts = [prompt for row in SAMPLE_PROMPTS for prompt in row]
    images = make_pipeline(denoiser, vae, config)(
        prompts,
        num_inference_steps=config["sample_steps"],
        guidance_scale=config["sample_guidance"],
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        output_type="np",
    ).images
    pixels = (images * 255).round().astype("uint8")
    width = len(SAMPLE_PROMPTS[0])
    save_sheet(path, [pixels[i : i + width] for i in range(0, len(pixels), width)])


def train(config: dict) -> None:
    device = choose_device()
    run = Run("diffusion", config)
    vae = load_autoencoder(device)
    torch.manual_seed(config["seed"])
    denoiser = Denoiser(config, vae.config.latent_channels).to(device)
    if "begin_from" in config:
        load_networks(denoiser, Path(config["begin_from"]))
    learner = Learner(run, "denoiser", denoiser)
    rng = learner.seed()
    # New compositions after every resume: the cache is large, but what could be composed is larger.
    latents, compositions = encode_compositions(
        vae, config["seed"] + learner.start, config["pictures"], config["resolution"]
    )
    alphas_cumprod = DDIMScheduler(**config["scheduler"]).alphas_cumprod.to(device)

    for _ in learner.steps():
        chosen = torch.randint(len(compositions), (config["batch_size"],))
        captions = draw_captions((compositions[i] for i in chosen), config["caption_dropout"], rng)
        noised = add_noise(latents[chosen], alphas_cumprod)
        token_ids = tokenize(denoiser.tokenizer, captions, device)
        # With 16 to 24 tokens a fused attention kernel costs more than it saves.
        with autocast(device), sdpa_kernel(SDPBackend.MATH):
            noise_pred = denoiser(noised.latents, noised.timesteps, token_ids)
        loss, error = noised.losses(noise_pred)
        learner.learn(loss)

        losses = {"loss": loss.item(), "noise": error.item()}
        run.log(learner.done, losses, config["log_every"])
        if learner.done % config["save_every"] == 0:
            learner.save()
        if learner.done % config["sample_every"] == 0:
            save_samples(learner.sample_path, learner.average, vae, config)
    learner.save()
    save_samples(learner.sample_path, learner.average, vae, config)


if __name__ == "__main__":
    train(read_settings("diffusion", stage_parser(__doc__).parse_args()))
