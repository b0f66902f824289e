"""Measure the shipped models: one command, its tables."""

import argparse
import math
import random
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DiffusionPipeline,
    LDMSuperResolutionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    VQModel,
)
from rich.console import Console
from rich.table import Table

from training import controlnet, upscale
from training.autoencoder import UNSEEN_SEED, psnr, reconstruct
from training.classifier import load_classifier
from training.data import (
    COLOURS,
    Composition,
    compose,
    draw_composition,
    load_pictures,
    with_article,
)
from training.measures import (
    MEASURES,
    PROMPT_SEED,
    RESOLUTION,
    Judge,
    follow_rates,
    nearest_colour,
    nearness,
    overlap,
    redness,
)
from training.run import RUNS, save_sheet, to_pictures, to_tensor

MODELS = Path("models")
SHEET = RUNS / "sheet.png"
BATCH = 25
STEPS = 25
GUIDANCE = 3.0
SCALES_OF_GUIDANCE = (1.0, 3.0, 7.5, 15.0)
CELL = 4  # pixels to a latent, on each side
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
CONTROL_SCALES = (0.5, 1.0)
SMALL = 32  # the side of what is enlarged
UPSCALING_STEPS = (1, 2, 4, 10, 25)


def full_prompt(composition: Composition) -> str:
    """Every part named, so that every part can be judged."""
    name = load_pictures()[composition.picture].names[0]
    words = [composition.size, composition.hue, name]
    background = f"on {with_article(composition.background)} background"
    return " ".join(filter(None, [*words, background]))


def draw_prompts(count: int) -> list[Composition]:
    rng = random.Random(PROMPT_SEED)
    return [draw_composition(rng, load_pictures()) for _ in range(count)]


def generate(
    pipeline: StableDiffusionPipeline, prompts: list[str], guidance: float, **others: object
) -> np.ndarray:
    """One picture for each prompt, each from the seed that is its number."""
    parts = []
    for first in range(0, len(prompts), BATCH):
        part = prompts[first : first + BATCH]
        images = pipeline(
            part,
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(first + i) for i in range(len(part))],
            output_type="np",
            **others,
        ).images
        parts.append((images * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def seconds_for_one(pipeline: StableDiffusionPipeline) -> float:
    """The median of five, after one to warm up."""
    times = []
    for _ in range(6):
        started = time.perf_counter()
        generate(pipeline, ["large rocket on a blue background"], GUIDANCE)
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def follow_table(pipeline: StableDiffusionPipeline, judge: Judge, count: int) -> Table:
    """How well the model follows prompts, beside what the same measures say of real pictures."""
    unseen, compositions = compose(UNSEEN_SEED, 256, RESOLUTION)
    wanted = draw_prompts(count)
    made = generate(pipeline, list(map(full_prompt, wanted)), GUIDANCE)
    save_sheet(SHEET, [made[i : i + 12] for i in range(0, min(48, count // 12 * 12), 12)], 1)
    model = follow_rates(made, wanted, judge)
    real = follow_rates(unseen, compositions, judge)

    table = Table("what", "the model", "real pictures", title="text to image")
    for name, label in MEASURES.items():
        table.add_row(f"{label}, {count} prompts", f"{model[name]:.0f} %", f"{real[name]:.0f} %")
    table.add_row(f"one picture, {STEPS} steps", f"{seconds_for_one(pipeline):.2f} s", "")
    return table


def guidance_table(pipeline: StableDiffusionPipeline, judge: Judge, count: int) -> Table:
    wanted = draw_prompts(count)
    table = Table("guidance", *MEASURES.values(), title=f"what guidance does, {count} prompts")
    for scale in SCALES_OF_GUIDANCE:
        made = generate(pipeline, list(map(full_prompt, wanted)), scale)
        rates = follow_rates(made, wanted, judge)
        table.add_row(f"{scale:g}", *(f"{rates[name]:.0f} %" for name in MEASURES))
    return table


def negative_table(pipeline: StableDiffusionPipeline) -> Table:
    names = [load_pictures()[c.picture].names[0] for c in draw_prompts(BATCH)]
    table = Table("negative prompt", "red pixels", title=f"{BATCH} names as prompts")
    for word in ("", "red"):
        made = generate(pipeline, names, GUIDANCE, negative_prompt=[word] * BATCH)
        table.add_row(word or "none", f"{redness(made):.1f} %")
    return table


def strength_table(pipeline: StableDiffusionPipeline) -> Table:
    """Image-to-image, asked for another picture on the same background."""
    sources, compositions = compose(UNSEEN_SEED, BATCH, RESOLUTION)
    prompts = [
        full_prompt(replace(other, background=own.background))
        for own, other in zip(compositions, compositions[1:] + compositions[:1], strict=True)
    ]
    img2img = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    img2img.set_progress_bar_config(disable=True)
    source = to_tensor(sources, torch.device("cpu"))
    table = Table("strength", "PSNR to the input", title="image to image")
    for strength in STRENGTHS:
        made = generate(img2img, prompts, GUIDANCE, image=(source + 1) / 2, strength=strength)
        table.add_row(f"{strength:g}", f"{psnr(to_tensor(made, source.device), source):.1f} dB")
    return table


def mask_around(composition: Composition) -> np.ndarray:
    """All but the square around its picture, as RESOLUTION x RESOLUTION booleans."""
    grid = RESOLUTION // CELL  # masks end where latents do
    mask = np.ones((RESOLUTION, RESOLUTION), dtype=bool)
    rows, columns = (
        slice(
            math.floor(start * grid) * CELL,
            math.ceil((start + composition.scale) * grid) * CELL,
        )
        for start in (composition.top, composition.left)
    )
    mask[rows, columns] = False
    return mask


def inpaint_table(pipeline: StableDiffusionPipeline) -> Table:
    """A new background for small pictures: all but the square around them is masked."""
    drawn, all_compositions = compose(UNSEEN_SEED, 4 * BATCH, RESOLUTION)
    small = [n for n, c in enumerate(all_compositions) if c.size == "small"][:BATCH]
    compositions = [all_compositions[n] for n in small]
    colours = list(COLOURS)
    turned = [colours[(colours.index(c.background) + 3) % len(colours)] for c in compositions]
    masks = np.stack([mask_around(c) for c in compositions])
    inpaint = StableDiffusionInpaintPipeline(**pipeline.components, requires_safety_checker=False)
    inpaint.set_progress_bar_config(disable=True)
    source = to_tensor(drawn[small], torch.device("cpu"))
    prompts = [
        full_prompt(replace(c, background=colour))
        for c, colour in zip(compositions, turned, strict=True)
    ]
    made = generate(
        inpaint,
        prompts,
        GUIDANCE,
        image=(source + 1) / 2,
        mask_image=torch.from_numpy(masks)[:, None].float(),
    )
    through = to_pictures(reconstruct(pipeline.vae, source))
    table = Table("what", "value", title=f"inpainting, {len(small)} new backgrounds")
    for name, pictures in (("", made), (", by the autoencoder alone", through)):
        change = np.abs(pictures.astype(float) - drawn[small])[~masks].mean()
        table.add_row(f"change of what was kept{name}", f"{change:.1f} of 255")
    filled = [
        np.mean([nearest_colour(pixel) == colour for pixel in picture[mask]])
        for picture, mask, colour in zip(made, masks, turned, strict=True)
    ]
    table.add_row("masked pixels of the prompt's colour", f"{100 * np.mean(filled):.0f} %")
    return table


def control_table(pipeline: StableDiffusionPipeline, edges_net: ControlNetModel) -> Table:
    """The same prompts and seeds with and without the edges of a picture that fits the prompt."""
    pictures, compositions = compose(UNSEEN_SEED, 4 * BATCH, RESOLUTION)
    edges = controlnet.find_edges(pictures)
    condition = controlnet.as_condition(edges, torch.device("cpu"))
    prompts = list(map(full_prompt, compositions))
    controlled = controlnet.make_pipeline(pipeline, edges_net)
    columns = "control", "overlap of edges", "within a pixel"
    table = Table(*columns, title=f"edges, {len(prompts)} pictures")
    through = to_pictures(reconstruct(pipeline.vae, to_tensor(pictures, condition.device)))
    made = {"none": generate(pipeline, prompts, GUIDANCE)}
    for scale in CONTROL_SCALES:
        made[f"scale {scale:g}"] = np.concatenate(
            [
                generate(
                    controlled,
                    prompts[first : first + BATCH],
                    GUIDANCE,
                    image=condition[first : first + BATCH],
                    controlnet_conditioning_scale=scale,
                )
                for first in range(0, len(prompts), BATCH)
            ]
        )
    made["the picture itself, through the autoencoder"] = through
    for name, result in made.items():
        found = controlnet.find_edges(result)
        table.add_row(name, *(f"{rate(found, edges):.0f} %" for rate in (overlap, nearness)))
    return table


def upscale_table(pipeline: LDMSuperResolutionPipeline, count: int) -> Table:
    large, _ = compose(UNSEEN_SEED, count, 4 * SMALL)
    small = upscale.resize(large, 1 / 4)
    title = f"{SMALL}x{SMALL} to {4 * SMALL}x{4 * SMALL}, {count} pictures"
    table = Table("how", "PSNR", "seconds each", title=title)
    ways = {"bicubic": partial(upscale.resize, factor=4)}
    for steps in UPSCALING_STEPS:
        ways[f"{steps} steps"] = partial(upscale.enlarge, pipeline, steps=steps)
    for name, way in ways.items():
        started = time.perf_counter()
        quality = upscale.measure(way, small, large)
        seconds = (time.perf_counter() - started) / count
        table.add_row(name, f"{quality:.1f} dB", f"{seconds:.2f} s")
    return table


def autoencoder_table(vae: AutoencoderKL, vqvae: VQModel, count: int) -> Table:
    table = Table("pictures", "KL", "VQ", title=f"autoencoders, {count} unseen compositions")
    for resolution in (RESOLUTION, 4 * SMALL):
        pictures = to_tensor(compose(UNSEEN_SEED, count, resolution)[0], torch.device("cpu"))
        qualities = [psnr(reconstruct(kind, pictures), pictures) for kind in (vae, vqvae)]
        table.add_row(f"{resolution}x{resolution}", *(f"{q:.1f} dB" for q in qualities))
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--prompts", type=int, default=300)
    arguments = parser.parse_args()
    emoji, enlarger = (
        DiffusionPipeline.from_pretrained(arguments.models / name)
        for name in ("emoji", "emoji-upscale")
    )
    for shipped in (emoji, enlarger):
        shipped.set_progress_bar_config(disable=True)
    canny = ControlNetModel.from_pretrained(arguments.models / "emoji-canny")
    chosen = Judge(load_classifier("judge", torch.device("cpu")))
    few = max(1, arguments.prompts // 3)
    console = Console(width=100)
    for measured in (
        partial(autoencoder_table, emoji.vae, enlarger.vqvae, few),
        partial(follow_table, emoji, chosen, arguments.prompts),
        partial(guidance_table, emoji, chosen, few),
        partial(negative_table, emoji),
        partial(strength_table, emoji),
        partial(inpaint_table, emoji),
        partial(control_table, emoji, canny),
        partial(upscale_table, enlarger, few),
    ):
        console.print(measured())
