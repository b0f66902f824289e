"""Stage 1: an autoencoder whose latents are 4 times smaller on each side than the picture.

Two kinds, by one script: KL-reg keeps the latents near a normal distribution, VQ-reg snaps each of
them to the nearest entry of a codebook.
"""

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
from training.learner import Learner
from training.losses import Critic, PerceptualLoss, balance, pixel_loss
from training.run import (
    RUNS,
    Run,
    autocast,
    choose_device,
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
        carry_over(vae, vqvae, encode_measured(vae, config))
        codebook = make_codebook(encode_measured(vqvae, config), vqvae.quantize.n_e)
        vqvae.quantize.embedding.weight.data.copy_(codebook)
    return vqvae


def encode_measured(autoencoder: Autoencoder, config: dict) -> Tensor:
    """The latents that their mean, spread and axes are measured on."""
    measured = config["seed"], config["measured_pictures"], config["resolution"]
    return encode_compositions(autoencoder, *measured)[0]


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


def wake_latents(learner: Learner[Autoencoder], config: dict) -> None:
    """Let axes of the latents that carry nothing begin anew, and with them the averaged weights."""
    vae = learner.network
    vae.save_pretrained(learner.run.folder / "before-waking")
    woken = wake(vae, encode_measured(vae, config))
    print(f"axes of the latents that carried nothing: {woken}")
    if woken:
        learner.average.load_state_dict(vae.state_dict())
        learner.optimizer.state.clear()


def train_critic(
    critic: Critic, optimizer: torch.optim.Optimizer, pictures: Tensor, output: Tensor
) -> float:
    """One step; returns the loss before it."""
    loss = critic.loss(pictures, output)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def save_samples(path: Path, average: Autoencoder, unseen: Tensor) -> float:
    """Real, ours; returns the decibels of ours."""
    output = reconstruct(average, unseen)
    save_sheet(path, [to_pictures(unseen[:12]), to_pictures(output[:12])])
    return psnr(output, unseen)


def save_normalised(autoencoder: Autoencoder, config: dict) -> None:
    """The result of this stage: the autoencoder, with latents of unit variance."""
    latents = encode_measured(autoencoder, config)
    normalise = normalise_quantised if isinstance(autoencoder, VQModel) else normalise_latents
    normalise(autoencoder, latents)
    autoencoder.save_pretrained(RUNS / config["result"])


def train(config: dict) -> None:
    device = choose_device()
    run = Run(config["stage"], config)
    torch.manual_seed(config["seed"])
    vae = make_autoencoder(config).to(device)
    vae.train()  # a loaded one would give its latents no noise
    critic = Critic().to(device)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), lr=config["critic_learning_rate"])
    learner = Learner(
        run,
        "vae",
        vae,
        weight_decay=0.0,
        modules={"critic": critic},
        optimizers={"critic_optimizer": critic_optimizer},
    )
    perceptual_loss = PerceptualLoss(load_classifier("classifier", device))
    rng = learner.seed()
    unseen = to_tensor(compose(UNSEEN_SEED, 32, config["resolution"])[0], device)

    for step in learner.steps():
        if step == config.get("wake_at"):
            wake_latents(learner, config)
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

        learner.learn(loss)
        if step >= config["perceptual_from"]:  # the critic learns before anybody listens to it
            losses["critic"] = train_critic(critic, critic_optimizer, pictures, output)
        if learner.done % config["sample_every"] == 0 or learner.done == config["steps"]:
            quality = save_samples(learner.sample_path, learner.average, unseen)
            run.running["psnr"] = losses["psnr"] = quality
            learner.save()
        run.log(learner.done, {"loss": loss.item()} | losses, config["log_every"])
    learner.save()
    save_normalised(learner.average, config)


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--vq", action="store_true", help="the variant with a codebook")
    arguments = parser.parse_args()
    train(read_settings("vq" if arguments.vq else "autoencoder", arguments))
