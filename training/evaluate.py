"""Measure the shipped model: one command, one table."""

import argparse
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table

from training.autoencoder import UNSEEN_SEED, psnr, reconstruct
from training.classifier import Classifier, load_classifier
from training.data import (
    COLOURS,
    SCALES,
    Composition,
    compose,
    draw_composition,
    load_pictures,
    taught_pictures,
    with_article,
)
from training.run import RUNS, save_sheet, to_tensor

MODEL = Path("models/emoji")
SHEET = RUNS / "sheet.png"
PROMPT_SEED = 2_000_003
BATCH = 25
STEPS = 25
MIDDLING = (SCALES["small"][1] + SCALES["large"][0]) / 2  # between a small and a large picture
GUIDANCE = 3.0
RESOLUTION = 64
SCALES_OF_GUIDANCE = (1.0, 3.0, 7.5, 15.0)
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)

MEASURES = {
    "background": "background colour right",
    "size": "size right",
    "first": "the judge names the picture",
    "among five": "the judge has it among its first five",
}


def full_prompt(composition: Composition) -> str:
    """Every part named, so that every part can be judged."""
    name = load_pictures()[composition.picture].names[0]
    words = [composition.size, composition.hue, name]
    background = f"on {with_article(composition.background)} background"
    return " ".join(filter(None, [*words, background]))


def draw_prompts(count: int) -> list[Composition]:
    rng = random.Random(PROMPT_SEED)
    return [draw_composition(rng, load_pictures(), taught_pictures()) for _ in range(count)]


def background_colour(picture: np.ndarray) -> np.ndarray:
    """The median of the four corners: even a large picture leaves them free."""
    edge = max(3, len(picture) // 16)
    corners = [
        picture[y, x]
        for y in (slice(edge), slice(-edge, None))
        for x in (slice(edge), slice(-edge, None))
    ]
    return np.median(np.concatenate([corner.reshape(-1, 3) for corner in corners]), axis=0)


def nearest_colour(colour: np.ndarray) -> str:
    return min(COLOURS, key=lambda name: np.square(colour - np.array(COLOURS[name])).sum())


def extent(picture: np.ndarray) -> float:
    """The longer side of what is not background, as a share of the canvas."""
    distance = np.abs(picture.astype(float) - background_colour(picture)).max(axis=2)
    subject = distance > 40
    sides = [np.flatnonzero(subject.sum(axis=axis) > 1) for axis in (0, 1)]
    return max((side[-1] - side[0] + 1 if len(side) else 0) for side in sides) / len(picture)


@torch.no_grad()
def follow_rates(
    pictures: np.ndarray, wanted: list[Composition], judge: Classifier
) -> dict[str, float]:
    """How often each part of the prompt is to be seen, in per cent."""
    scores = judge(to_tensor(pictures, torch.device("cpu")))["picture"]
    best = scores.topk(5, dim=1).indices.tolist()
    checks = {
        "background": [
            nearest_colour(background_colour(p)) == c.background
            for p, c in zip(pictures, wanted, strict=True)
        ],
        "size": [
            (extent(p) > MIDDLING) == (c.size == "large")
            for p, c in zip(pictures, wanted, strict=True)
        ],
        "first": [c.picture == top[0] for c, top in zip(wanted, best, strict=True)],
        "among five": [c.picture in top for c, top in zip(wanted, best, strict=True)],
    }
    return {name: 100 * float(np.mean(right)) for name, right in checks.items()}


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


def redness(pictures: np.ndarray) -> float:
    """The share of pixels, in per cent, whose red is well above their green and blue."""
    red, green, blue = (pictures[..., channel].astype(int) for channel in range(3))
    return 100 * float(((red > green + 60) & (red > blue + 60)).mean())


def follow_table(pipeline: StableDiffusionPipeline, judge: Classifier, count: int) -> Table:
    """How well the model follows prompts, beside what the same measures say of real pictures."""
    unseen, compositions = compose(UNSEEN_SEED, 256, RESOLUTION, taught_pictures())
    originals = to_tensor(unseen, torch.device("cpu"))
    wanted = draw_prompts(count)
    made = generate(pipeline, list(map(full_prompt, wanted)), GUIDANCE)
    save_sheet(SHEET, [made[i : i + 12] for i in range(0, min(48, count // 12 * 12), 12)], 1)
    model = follow_rates(made, wanted, judge)
    real = follow_rates(unseen, compositions, judge)

    table = Table("what", "the model", "real pictures", title="text to image")
    quality = psnr(reconstruct(pipeline.vae, originals), originals)
    table.add_row("autoencoder, PSNR on 256 unseen compositions", f"{quality:.1f} dB", "")
    for name, label in MEASURES.items():
        table.add_row(f"{label}, {count} prompts", f"{model[name]:.0f} %", f"{real[name]:.0f} %")
    table.add_row(f"one picture, {STEPS} steps", f"{seconds_for_one(pipeline):.2f} s", "")
    return table


def guidance_table(pipeline: StableDiffusionPipeline, judge: Classifier, count: int) -> Table:
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
    sources, compositions = compose(UNSEEN_SEED, BATCH, RESOLUTION, taught_pictures())
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--prompts", type=int, default=300)
    arguments = parser.parse_args()
    emoji = StableDiffusionPipeline.from_pretrained(arguments.model)
    emoji.set_progress_bar_config(disable=True)
    chosen = load_classifier("judge", torch.device("cpu"))
    console = Console(width=100)
    console.print(follow_table(emoji, chosen, arguments.prompts))
    console.print(guidance_table(emoji, chosen, arguments.prompts // 3))
    console.print(negative_table(emoji))
    console.print(strength_table(emoji))
