"""A request becomes one call of one unmodified diffusers pipeline, a function per task; runs in a
job's greenlet, knows neither Redis nor other jobs."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkroom.errors import InvalidOutputError, UnsupportedError
from darkroom.request import ImageToImage, Request, TextToImage
from worker.pipelines import LoadedModel
from worker.schedulers import OnStep, counted

Inputs = Mapping[str, Image.Image]


@dataclass(frozen=True)
class Outcome:
    """What a job made. Picture i has the seed of the request plus i."""

    pictures: tuple[np.ndarray, ...]
    """uint8, height x width x 3."""
    warnings: tuple[str, ...] = ()


def run(
    request: Request, model: LoadedModel, inputs: Inputs, *, on_step: OnStep
) -> Outcome:
    """Make the pictures of `request`; `inputs` holds its input pictures by field.

    Raises UnsupportedError for what the model turns out not to do, InvalidOutputError."""
    if request.task not in model.pipelines:
        raise UnsupportedError(f"The model {model.record.name!r} does not do {request.task}.")
    return TASKS[request.task](request, model, inputs, on_step)


def text_to_image(request: TextToImage, model: LoadedModel, _: Inputs, on_step: OnStep) -> Outcome:
    return _generate(request, model, request.num_inference_steps, on_step)


def image_to_image(
    request: ImageToImage, model: LoadedModel, inputs: Inputs, on_step: OnStep
) -> Outcome:
    size = (request.width, request.height)
    image = inputs["image"].convert("RGB").resize(size, Image.Resampling.LANCZOS)
    steps = steps_after_strength(request.num_inference_steps, request.strength)
    if steps == 0:
        kept = "strength leaves no step to make: the picture is the one that was given."
        return Outcome((np.asarray(image),) * request.num_images, (kept,))
    # One for each picture: given a single one, SD 3's pipeline encodes it for the first only.
    images = [image] * request.num_images
    return _generate(request, model, steps, on_step, image=images, strength=request.strength)


TASKS: Mapping[str, Callable[..., Outcome]] = {
    "text-to-image": text_to_image,
    "image-to-image": image_to_image,
}


def steps_after_strength(num_inference_steps: int, strength: float) -> int:
    """The steps that remain when the first ones are skipped, by diffusers' own formula."""
    return min(int(num_inference_steps * strength), num_inference_steps)


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One per picture, on the CPU: the same noise on every device and in every company."""
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def _generate(
    request: TextToImage, model: LoadedModel, steps: int, on_step: OnStep, **more: Any
) -> Outcome:
    pipeline = model.view(request.task, request.scheduler)
    arguments = {
        "prompt": request.prompt,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "num_images_per_prompt": request.num_images,
        "generator": generators(request.seed, request.num_images),
        "output_type": "pt",
    }
    if request.negative_prompt:  # left out is not the same as empty: SDXL then takes zeros
        arguments["negative_prompt"] = request.negative_prompt
    with counted(pipeline, steps, on_step):
        images = _call(pipeline, arguments | more)
    return Outcome(_pixels(images), tuple(_cut_prompts(request, pipeline)))


def _call(pipeline: Any, arguments: dict[str, Any]) -> torch.Tensor:
    """Call the pipeline with those arguments that it takes. Several, such as img2img for SD 1.5,
    take no size: their input image has it."""
    accepted = inspect.signature(pipeline.__call__).parameters
    name = type(pipeline).__name__
    if "negative_prompt" in arguments and "negative_prompt" not in accepted:
        raise UnsupportedError(f"{name} takes no negative_prompt.")
    if arguments["num_images_per_prompt"] > 1 and "num_images_per_prompt" not in accepted:
        raise UnsupportedError(f"{name} makes one picture per job.")
    try:
        return pipeline(**{k: v for k, v in arguments.items() if k in accepted}).images
    except ValueError as error:
        if _raised_in(error) == "check_inputs":  # before anything ran, and in words for people
            raise UnsupportedError(str(error)) from None
        raise


def _raised_in(error: BaseException) -> str:
    """The name of the function that raised."""
    return traceback.extract_tb(error.__traceback__)[-1].name


def _pixels(images: torch.Tensor) -> tuple[np.ndarray, ...]:
    """uint8 arrays from an (n, 3, height, width) tensor of 0 to 1; converted on the device, so
    that a quarter of the bytes travels."""
    if not images.isfinite().all():
        raise InvalidOutputError(
            "The model's output holds values that are not numbers; its dtype may be too narrow."
        )
    eight_bits = images.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return tuple(eight_bits.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _cut_prompts(request: TextToImage, pipeline: Any) -> list[str]:
    """A sentence for each prompt that is longer than all that the model reads."""
    warnings = []
    for field in ("prompt", "negative_prompt"):
        lengths = [
            (len(tokenizer(getattr(request, field)).input_ids), limit)
            for tokenizer, limit in _readers(pipeline)
        ]
        if lengths and all(length > limit for length, limit in lengths):
            length, limit = max(lengths, key=lambda pair: pair[1])
            warnings.append(
                f"{field} has {length} tokens; the model reads the first {limit} and ignores "
                "the rest."
            )
    return warnings


def _readers(pipeline: Any) -> list[tuple[Any, int]]:
    """The tokenizers in use, each with the number of tokens its encoder is given."""
    accepted = inspect.signature(pipeline.__call__).parameters
    longest = getattr(accepted.get("max_sequence_length"), "default", None)
    readers = []
    for name, tokenizer in pipeline.components.items():
        if name.startswith("tokenizer") and tokenizer is not None:
            is_clip = "CLIP" in type(tokenizer).__name__
            limit = tokenizer.model_max_length if is_clip or not longest else longest
            readers.append((tokenizer, limit))
    return readers
