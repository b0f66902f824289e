"""Super-resolution in the latent space of the VQ variant: a UNet sees the small picture beside the
noisy latents of the large one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, LDMSuperResolutionPipeline, UNet2DModel, VQModel
from PIL import Image

from training.autoencoder import UNSEEN_SEED, psnr
from training.data import compose
from training.export import swap_in
from training.latents import encode_compositions
from training.learner import Learner
from training.losses import pixel_loss
from training.noise import add_noise
from training.run import (
    RUNS,
    Run,
    autocast,
    choose_device,
    read_settings,
    save_sheet,
    stage_parser,
    to_tensor,
)

TARGET = Path("models/emoji-upscale")


def resize(pictures: np.ndarray, factor: float) -> np.ndarray:
    """Bicubic in both directions: what the model starts from, and what it has to beat."""
    height, width = (round(side * factor) for side in pictures.shape[1:3])
    return np.stack(
        [
            np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.BICUBIC))
            for p in pictures
        ]
    )


def make_pipeline(
    vqvae: VQModel, unet: UNet2DModel, scheduler: DDIMScheduler
) -> LDMSuperResolutionPipeline:
    pipeline = LDMSuperResolutionPipeline(vqvae=vqvae, unet=unet, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def enlarge(pipeline: LDMSuperResolutionPipeline, small: np.ndarray, steps: int) -> np.ndarray:
    images = pipeline(
        to_tensor(small, pipeline.device),
        num_inference_steps=steps,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(small))],
        output_type="np",
    ).images
    return (images * 255).round().astype(np.uint8)


def measure(
    enlarger: Callable[[np.ndarray], np.ndarray], small: np.ndarray, large: np.ndarray
) -> float:
    """Decibels, the mean over pictures."""
    parts = [enlarger(small[i : i + 16]) for i in range(0, len(small), 16)]
    made = to_tensor(np.concatenate(parts), torch.device("cpu"))
    return psnr(made, to_tensor(large, torch.device("cpu")))


def save_samples(
    path: Path, pipeline: LDMSuperResolutionPipeline, large: np.ndarray, config: dict
) -> float:
    """Bicubic, ours, real; returns the decibels of ours."""
    small = resize(large, 1 / config["factor"])
    made = enlarge(pipeline, small, config["sample_steps"])
    save_sheet(path, [rows[:8] for rows in (resize(small, config["factor"]), made, large)], 1)
    return psnr(to_tensor(made, torch.device("cpu")), to_tensor(large, torch.device("cpu")))


def train(config: dict) -> LDMSuperResolutionPipeline:
    """Returns a pipeline around the averaged weights."""
    device = choose_device()
    run = Run("upscale", config)
    vqvae = VQModel.from_pretrained(RUNS / "vqvae").to(device).requires_grad_(False)
    torch.manual_seed(config["seed"])
    if "begin_from" in config:
        unet = UNet2DModel.from_pretrained(Path(config["begin_from"]) / "unet").to(device)
    else:
        unet = UNet2DModel(**config["unet"]).to(device)
    learner = Learner(run, "unet", unet)
    learner.seed()
    drawn = config["seed"] + learner.start, config["pictures"], config["resolution"]
    large, _ = compose(*drawn)
    small = resize(large, 1 / config["factor"])
    latents, _ = encode_compositions(vqvae, *drawn)
    unseen, _ = compose(UNSEEN_SEED, 32, config["resolution"])
    scheduler = DDIMScheduler(**config["scheduler"])
    alphas_cumprod = scheduler.alphas_cumprod.to(device)
    pipeline = make_pipeline(vqvae, learner.average, scheduler)

    for step in learner.steps():
        chosen = torch.randint(len(latents), (config["batch_size"],))
        clean, hint = latents[chosen], to_tensor(small[chosen.numpy()], device)
        noised = add_noise(clean, alphas_cumprod)
        seen = torch.cat([noised.latents, hint], dim=1)
        with autocast(device):
            velocity = unet(seen, noised.timesteps).sample.float()
        # The network tells a velocity, but what counts is how near the latents are that follow from
        # it: in the noise, where few steps do most of their work, as much as near the end.
        found = noised.clean(velocity)
        loss = (found - clean).square().mean()
        losses = {"latents": loss.item()}
        if run.part_done(step) >= config["pixels_after"]:
            # The same distance in latents can be much or little to the eye: the decoder knows.
            few = config["pixel_batch_size"]
            with autocast(device):
                output = vqvae.decode(found[:few]).sample
            wanted = to_tensor(large[chosen[:few].numpy()], device)
            pixels = pixel_loss(output.float(), wanted)
            loss = loss + config["pixel_weight"] * pixels
            losses["pixels"] = pixels.item()
        losses["loss"] = loss.item()
        learner.learn(loss)

        if learner.done % config["save_every"] == 0:
            learner.save()
        if learner.done % config["sample_every"] == 0:
            quality = save_samples(learner.sample_path, pipeline, unseen, config)
            run.running["psnr"] = losses["psnr"] = quality
        run.log(learner.done, losses, config["log_every"])
    learner.save()
    save_samples(learner.sample_path, pipeline, unseen, config)
    return pipeline


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    trained = train(read_settings("upscale", arguments))
    size = swap_in(trained, arguments.target)
    print(f"{arguments.target}: {size / 1e6:.1f} MB")
