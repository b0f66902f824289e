"""Stage 1: an autoencoder whose latents are 4 times smaller on each side than the picture.

Two kinds, by one script: KL-reg keeps the latents near a normal distribution, VQ-reg snaps each of
them to the nearest entry of a codebook.
"""

import copy
import random
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor

from training.classifier import load_classifier
from training.data import compose, draw_composition, load_pictures, render
from training.latents import (
    carry_over,
    encode_compositions,
    make_codebook,
    normalise_latents,
    normalise_quantised,
    wake,
)
from training.losses import Critic, PerceptualLoss, balance, pixel_loss
from training.run import (
    RUNS,
    Run,
    autocast,
    choose_device,
    follow,
    learning_rate,
    read_settings,
    save_sheet,
    stage_parser,
    to_pictures,
    to_tensor,
)

UNSEEN_SEED = 1_000_003  # compositions that training never draws
Autoencoder: TypeAlias = AutoencoderKL | VQModel


def make_autoencoder(config: dict) -> Autoencoder:
    """A new one, or one that begins where a finished one of KL-reg ended."""
    if config["kind"] == "kl":
        if "begin_from" in config:
            return AutoencoderKL.from_pretrained(Path(config["begin_from"]))
        return AutoencoderKL(**config["model"])
    vqvae = VQModel(**config["model"])
    if "begin_from" in config:
        vae = AutoencoderKL.from_pretrained(Path(config["begin_from"]))
        measured = config["seed"], config["measured_pictures"], config["resolution"]
        carry_over(vae, vqvae, encode_compositions(vae, *measured)[0])
        latents, _ = encode_compositions(vqvae, *measured)
        vqvae.quantize.embedding.weight.data.copy_(make_codebook(latents, vqvae.quantize.n_e))
    return vqvae


def draw_batch(rng: random.Random, count: int, resolution: int) -> np.ndarray:
    pictures = load_pictures()
    return np.stack(
        [render(draw_composition(rng, pictures), pictures, resolution) for _ in range(count)]
    )


def pass_through(autoencoder: Autoencoder, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures after a trip through the latents, and the loss that keeps those in order."""
    if isinstance(autoencoder, VQModel):
        decoded = autoencoder.decode(autoencoder.encode(pictures).latents)
        return decoded.sample, decoded.commit_loss.mean()
    posterior = autoencoder.encode(pictures).latent_dist
    latents = posterior.sample() if autoencoder.training else posterior.mode()
    return autoencoder.decode(latents).sample, posterior.kl().mean()


@torch.no_grad()
def reconstruct(autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """The pictures after a trip through the likeliest latents."""
    training = autoencoder.training
    autoencoder.eval()
    parts = [pass_through(autoencoder, part)[0] for part in pictures.split(16)]
    autoencoder.train(training)
    return torch.cat(parts).clamp(-1, 1)


def psnr(output: Tensor, pictures: Tensor) -> float:
    """Decibels, the mean over pictures."""
    error = ((output - pictures) / 2).square().mean((1, 2, 3))
    return (-10 * error.log10()).mean().item()


def save_normalised(autoencoder: Autoencoder, config: dict) -> None:
    """The result of this stage: the autoencoder, with latents of unit variance."""
    measured = config["seed"], config["measured_pictures"], config["resolution"]
    latents, _ = encode_compositions(autoencoder, *measured)
    normalise = normalise_quantised if isinstance(autoencoder, VQModel) else normalise_latents
    normalise(autoencoder, latents)
    autoencoder.save_pretrained(RUNS / config["result"])


def train(config: dict) -> None:
    device = choose_device()
    run = Run(config["stage"], config)
    torch.manual_seed(config["seed"])
    vae = make_autoencoder(config).to(device)
    vae.train()  # a loaded one would give its latents no noise
    average = copy.deepcopy(vae).requires_grad_(False)
    critic = Critic().to(device)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.0, betas=(0.9, 0.99), fused=True)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), lr=config["critic_learning_rate"])
    parts = (
        {"vae": vae, "average": average, "critic": critic},
        {"optimizer": optimizer, "critic_optimizer": critic_optimizer},
    )
    done = start = run.resume(*parts)
    perceptual_loss = PerceptualLoss(load_classifier("classifier", device))
    rng = random.Random(f"{config['seed']} {start}")
    torch.manual_seed(config["seed"] + start)
    measured = config["seed"], config["measured_pictures"], config["resolution"]
    unseen = to_tensor(compose(UNSEEN_SEED, 32, config["resolution"])[0], device)

    for step in run.steps(start):
        if step == config.get("wake_at"):
            vae.save_pretrained(run.folder / "before-waking")
            woken = wake(vae, encode_compositions(vae, *measured)[0])
            print(f"axes of the latents that carried nothing: {woken}")
            if woken:
                average.load_state_dict(vae.state_dict())
                optimizer.state.clear()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, run.part_done(step), config)
        pictures = to_tensor(draw_batch(rng, config["batch_size"], config["resolution"]), device)
        with autocast(device):
            output, order = pass_through(vae, pictures)
        output = output.float()
        pixels = pixel_loss(output, pictures, config["squares_weight"])
        loss = pixels + config[f"{config['kind']}_weight"] * order
        losses = {"pixels": pixels.item(), config["kind"]: order.item()}

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
        follow(average, vae, done, config["ema_decay"])
        if done % config["sample_every"] == 0 or done == config["steps"]:
            output = reconstruct(average, unseen)
            run.running["psnr"] = losses["psnr"] = psnr(output, unseen)
            rows = [to_pictures(unseen[:12]), to_pictures(output[:12])]
            save_sheet(run.folder / "samples" / f"{done:06}.png", rows)
            run.save(done, *parts)
        run.log(done, {"loss": loss.item()} | losses, config["log_every"])
    run.save(done, *parts)
    save_normalised(average, config)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--vq", action="store_true", help="the variant with a codebook")
    arguments = parser.parse_args()
    train(read_settings("vq" if arguments.vq else "autoencoder", arguments))
