"""A ControlNet on edges: a second encoder that tells the finished, frozen UNet where edges run."""

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from darkroom.control_maps import canny
from training.autoencoder import UNSEEN_SEED
from training.data import compose
from training.diffusion import draw_captions
from training.export import swap_in
from training.latents import encode_compositions
from training.learner import Learner
from training.noise import add_noise
from training.run import (
    Run,
    autocast,
    choose_device,
    read_settings,
    save_sheet,
    stage_parser,
)
from training.text import tokenize

MODEL = Path("models/emoji")
TARGET = Path("models/emoji-canny")


def make_controlnet(unet: UNet2DConditionModel, channels: list[int]) -> ControlNetModel:
    """A copy of the UNet's encoder whose outlets are zero: at first it changes nothing.

    `channels` are those of the convolutions that the edges go through. Each after the first halves
    their sides, so three of them bring 64 x 64 edges to the 16 x 16 of the latents.
    """
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels)
    # from_unet() forgets how many heads pool the text; without them the copy reads it differently.
    own, copied = unet.add_embedding.pool, controlnet.add_embedding.pool
    copied.num_heads, copied.dim_per_head = own.num_heads, own.dim_per_head
    controlnet.register_to_config(addition_embed_type_num_heads=own.num_heads)
    return controlnet


def find_edges(pictures: np.ndarray) -> np.ndarray:
    """The edges of N x H x W x 3 bytes: N x H x W booleans."""
    return np.stack([np.asarray(canny(Image.fromarray(p)))[..., 0] > 0 for p in pictures])


def as_condition(edges: np.ndarray, device: torch.device) -> Tensor:
    """Booleans to the N x 3 x H x W of zeros and ones that a pipeline makes of an edge map."""
    return torch.from_numpy(edges).to(device)[:, None].expand(-1, 3, -1, -1).float()


def make_pipeline(
    emoji: StableDiffusionPipeline, controlnet: ControlNetModel
) -> StableDiffusionControlNetPipeline:
    pipeline = StableDiffusionControlNetPipeline(
        **emoji.components, controlnet=controlnet, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_samples(
    path: Path, emoji: StableDiffusionPipeline, controlnet: ControlNetModel, config: dict
) -> None:
    """Pictures, their edges, and what is made of the edges with and without a prompt."""
    pictures, compositions = compose(UNSEEN_SEED, 12, config["resolution"])
    edges = find_edges(pictures)
    rows = [pictures, edges[..., None].repeat(3, axis=3).astype(np.uint8) * 255]
    for dropout in (0.0, 1.0):
        images = make_pipeline(emoji, controlnet)(
            draw_captions(compositions, dropout, random.Random(UNSEEN_SEED)),
            image=as_condition(edges, torch.device("cpu")),
            num_inference_steps=config["sample_steps"],
            guidance_scale=config["sample_guidance"],
            generator=[torch.Generator().manual_seed(seed) for seed in range(len(edges))],
            output_type="np",
        ).images
        rows.append((images * 255).round().astype(np.uint8))
    save_sheet(path, rows)


def train(config: dict) -> ControlNetModel:
    """Returns the averaged weights."""
    device = choose_device()
    run = Run("controlnet", config)
    emoji = StableDiffusionPipeline.from_pretrained(MODEL).to(device)
    for part in (emoji.unet, emoji.vae, emoji.text_encoder):
        part.requires_grad_(False)
    torch.manual_seed(config["seed"])
    if "begin_from" in config:
        controlnet = ControlNetModel.from_pretrained(Path(config["begin_from"])).to(device)
    else:
        controlnet = make_controlnet(emoji.unet, config["channels"]).to(device)
    learner = Learner(run, "controlnet", controlnet)
    rng = learner.seed()
    drawn = config["seed"] + learner.start, config["pictures"], config["resolution"]
    edges = find_edges(compose(*drawn)[0])
    latents, compositions = encode_compositions(emoji.vae, *drawn)
    alphas_cumprod = emoji.scheduler.alphas_cumprod.to(device)

    for _ in learner.steps():
        chosen = torch.randint(len(compositions), (config["batch_size"],))
        captions = draw_captions((compositions[i] for i in chosen), config["caption_dropout"], rng)
        noised = add_noise(latents[chosen], alphas_cumprod)
        condition = as_condition(edges[chosen.numpy()], device)
        with autocast(device), sdpa_kernel(SDPBackend.MATH):
            text = emoji.text_encoder(tokenize(emoji.tokenizer, captions, device))[0]
            told = controlnet(noised.latents, noised.timesteps, text, condition)
            noise_pred = emoji.unet(
                noised.latents,
                noised.timesteps,
                text,
                down_block_additional_residuals=told.down_block_res_samples,
                mid_block_additional_residual=told.mid_block_res_sample,
            ).sample
        loss, error = noised.losses(noise_pred)
        learner.learn(loss)

        losses = {"loss": loss.item(), "noise": error.item()}
        run.log(learner.done, losses, config["log_every"])
        if learner.done % config["save_every"] == 0:
            learner.save()
        if learner.done % config["sample_every"] == 0:
            save_samples(learner.sample_path, emoji, learner.average, config)
    learner.save()
    save_samples(learner.sample_path, emoji, learner.average, config)
    return learner.average


if __name__ == "__main__":
    parser = stage_parser(__doc__)
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    trained = train(read_settings("controlnet", arguments))
    size = swap_in(trained, arguments.target)
    print(f"{arguments.target}: {size / 1e6:.1f} MB")
