"""Stage 1: an autoencoder whose latents are 4 times smaller on each side than the picture."""

import argparse
import random

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from training.classifier import load_classifier
from training.data import compose, draw_composition, load_pictures, render
from training.latents import encode_compositions, normalise_latents
from training.losses import Critic, PerceptualLoss, balance, pixel_loss
from training.run import (
    RUNS,
    Run,
    autocast,
    choose_device,
    learning_rate,
    read_config,
    save_sheet,
    to_pictures,
    to_tensor,
)

UNSEEN_SEED = 1_000_003  # compositions that training never draws
MEASURED_PICTURES = 4000  # to find the mean and the spread of each latent channel


def draw_batch(rng: random.Random, count: int, resolution: int) -> np.ndarray:
    pictures = load_pictures()
    return np.stack(
        [render(draw_composition(rng, pictures), pictures, resolution) for _ in range(count)]
    )


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """The pictures after a trip through the likeliest latents."""
    parts = (vae.decode(vae.encode(part).latent_dist.mode()).sample for part in pictures.split(16))
    return torch.cat(list(parts)).clamp(-1, 1)


def psnr(output: Tensor, pictures: Tensor) -> float:
    """Decibels, the mean over pictures."""
    error = ((output - pictures) / 2).square().mean((1, 2, 3))
    return (-10 * error.log10()).mean().item()


def save_normalised(vae: AutoencoderKL, config: dict) -> None:
    """The result of this stage: the autoencoder, with latents of unit variance."""
    latents, _ = encode_compositions(vae, config["seed"], MEASURED_PICTURES, config["resolution"])
    normalise_latents(vae, latents)
    vae.save_pretrained(RUNS / "vae")


def train(config: dict) -> None:
    device = choose_device()
    run = Run("autoencoder", config)
    torch.manual_seed(config["seed"])
    vae = AutoencoderKL(**config["model"]).to(device)
    critic = Critic().to(device)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.0, betas=(0.9, 0.99), fused=True)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), lr=config["critic_learning_rate"])
    parts = (
        {"vae": vae, "critic": critic},
        {"optimizer": optimizer, "critic_optimizer": critic_optimizer},
    )
    start = run.resume(*parts)
    perceptual_loss = PerceptualLoss(load_classifier("classifier", device))
    rng = random.Random(f"{config['seed']} {start}")
    torch.manual_seed(config["seed"] + start)
    unseen = to_tensor(compose(UNSEEN_SEED, 64, config["resolution"])[0], device)

    for step in run.steps(start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, run.part_done(step), config)
        pictures = to_tensor(draw_batch(rng, config["batch_size"], config["resolution"]), device)
        with autocast(device):
            posterior = vae.encode(pictures).latent_dist
            output = vae.decode(posterior.sample()).sample
        output = output.float()
        pixels, kl = pixel_loss(output, pictures), posterior.kl().mean()
        loss = pixels + config["kl_weight"] * kl
        losses = {"pixels": pixels.item(), "kl": kl.item()}

        if step >= config["perceptual_from"]:
            perceptual = perceptual_loss(output, pictures)
            loss = loss + config["perceptual_weight"] * perceptual
            losses["perceptual"] = perceptual.item()
        if step >= config["adversarial_from"]:
            doubt = critic.doubt(output)
            weight = balance(loss, doubt, vae.decoder.conv_out.weight)
            loss = loss + config["adversarial_weight"] * weight * doubt
            losses["doubt"] = doubt.item()

        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step >= config["perceptual_from"]:  # the critic learns before anybody listens to it
            critic_loss = critic.loss(pictures, output)
            critic_optimizer.zero_grad()
            critic_loss.backward()
            critic_optimizer.step()
            losses["critic"] = critic_loss.item()

        done = step + 1
        if done % config["sample_every"] == 0 or done == config["steps"]:
            output = reconstruct(vae, unseen)
            run.running["psnr"] = losses["psnr"] = psnr(output, unseen)
            rows = [to_pictures(unseen[:12]), to_pictures(output[:12])]
            save_sheet(run.folder / "samples" / f"{done:06}.png", rows)
            run.save(done, *parts)
        run.log(done, {"loss": loss.item()} | losses, config["log_every"])
    save_normalised(vae, config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="stop after this many steps in all")
    arguments = parser.parse_args()
    settings = read_config("autoencoder")
    settings["steps"] = arguments.steps or settings["steps"]
    train(settings)
