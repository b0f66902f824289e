"""A request becomes one call of one unmodified diffusers pipeline, a function per task; runs in a
job's greenlet, knows neither Redis nor other jobs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK
from darkroom.request import (
    UPSCALE,
    ClassToImage,
    ImageToImage,
    Inpaint,
    LayoutToImage,
    Request,
    TextToImage,
    Unconditional,
    Upscale,
)
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import NOBODY, StepListener
from worker.making import edits, prompts, sizes
from worker.making.canvas import canvas, extend, fit
from worker.making.hires import in_two_parts
from worker.making.pipeline_call import parameters_of, steps_of
from worker.making.work import Inputs, Outcome, Work, call_with_prompt, view


def run(
    request: Request, model: LoadedModel, inputs: Inputs, listener: StepListener = NOBODY
) -> Outcome:
    """Make the pictures of `request`; `inputs` holds its input pictures by where they stand in it,
    `listener` hears of each denoising step.

    Raises UnsupportedError for what the model turns out not to do, InvalidOutputError."""
    if request.task not in model.pipelines:
        raise UnsupportedError(f"The model {model.record.name!r} does not do {request.task}.")
    work = Work(request, model, inputs, listener)
    if request.deterministic and request.num_images > 1:
        return _one_by_one(work)
    return FUNCTIONS[request.task](work)


def _one_by_one(work: Work[Request]) -> Outcome:
    """Each picture in the rows that it has when it is asked for by itself: then its bits are the
    same, however many there are."""
    request, made = work.request, []
    for index in range(request.num_images):
        one = request.model_copy(update={"seed": request.seed + index, "num_images": 1})
        listener = _OneOfMany(work.listener, index, request.num_images)
        made.append(run(one, work.model, work.inputs, listener))
    warnings = dict.fromkeys(warning for each in made for warning in each.warnings)
    return Outcome(tuple(each.pictures[0] for each in made), tuple(warnings))


@dataclass(frozen=True)
class _OneOfMany:
    """Tells the steps of one of `count` pictures as steps of all, when `done` are made."""

    listener: StepListener
    done: int
    count: int

    def step(self, i: int, n: int, latents: torch.Tensor) -> None:
        self.listener.step(self.done * n + i, self.count * n, latents)

    def makes(self, width: int, height: int) -> None:
        self.listener.makes(width, height)


def text_to_image(work: Work[TextToImage]) -> Outcome:
    if work.request.hires is None:
        return call_with_prompt(work, view(work.request, work.model))
    return in_two_parts(work, work.request.hires)


def image_to_image(work: Work[ImageToImage]) -> Outcome:
    request = work.request
    image = fit(work.inputs[IMAGE], (request.width, request.height))
    if steps_of(request) == 0:
        return _keep(request, image, "strength leaves no step to make")
    pipeline = view(request, work.model)
    begun = sizes.start(image, request.num_images, pipeline)
    start = {"image": begun, "strength": request.strength}
    return call_with_prompt(work, pipeline, **start)


def inpaint(work: Work[Inpaint]) -> Outcome:
    request = work.request
    begun = canvas(request, work.inputs[IMAGE], work.inputs.get(MASK))
    if steps_of(request) == 0:
        return _keep(request, begun.picture, "strength leaves no step to make")
    if begun.is_kept:
        return _keep(request, begun.picture, "the mask leaves nothing to repaint")
    pipeline = view(request, work.model)
    start = {
        "image": [begun.picture] * request.num_images,
        "mask_image": begun.blocks(pipeline.vae_scale_factor),
        "strength": request.strength,
    }
    made = call_with_prompt(work, pipeline, **start)
    if MASK in work.inputs and begun.is_all_new:
        all_new = "The mask selects the whole picture: nothing of it is kept."
        made = replace(made, warnings=(*made.warnings, all_new))
    return replace(made, pictures=tuple(begun.compose(picture) for picture in made.pictures))


def upscale(work: Work[Upscale]) -> Outcome:
    request = work.request
    pipeline = view(request, work.model)
    image = extend(work.inputs[IMAGE], _multiple(pipeline))
    if "prompt" not in parameters_of(pipeline):
        # As a tensor: a picture alone it would shrink to a multiple of 32.
        pixels = torch.from_numpy(np.asarray(image) / np.float32(127.5) - 1).permute(2, 0, 1)
        arguments: dict[str, Any] = {"image": torch.stack([pixels] * request.num_images)}
        warnings: list[str] = []
    else:
        # A prompt and a picture each: the noise on a picture that several share is the first one's.
        given, warnings = prompts.arguments(request, pipeline)
        arguments = {name: _repeat(each, request.num_images) for name, each in given.items()} | {
            "image": [image] * request.num_images,
            "guidance_scale": request.guidance_scale,
            "noise_level": request.noise_level,
        }
    pictures = work.call(pipeline, arguments)
    width, height = (UPSCALE * side for side in work.inputs[IMAGE].size)
    return Outcome(tuple(each[:height, :width] for each in pictures), tuple(warnings))


def layout_to_image(work: Work[LayoutToImage]) -> Outcome:
    request = work.request
    pipeline = view(request, work.model)
    longest = pipeline.tokenizer.model_max_length
    for index, region in enumerate(request.regions):
        if len(pipeline.tokenizer(region.phrase).input_ids) > longest:
            raise UnsupportedError(f"regions/{index}/phrase has more than {longest} tokens.")
    layout = {
        "gligen_phrases": [region.phrase for region in request.regions],
        "gligen_boxes": [list(region.box) for region in request.regions],
    }
    return call_with_prompt(work, pipeline, **layout)


def class_to_image(work: Work[ClassToImage]) -> Outcome:
    request = work.request
    pipeline = view(request, work.model)
    classes = pipeline.transformer.config.num_embeds_ada_norm
    if request.class_label >= classes:
        raise UnsupportedError(f"class_label must be less than {classes}.")
    labels = [request.class_label] * request.num_images
    arguments = {"class_labels": labels, "guidance_scale": request.guidance_scale}
    return Outcome(work.call(pipeline, arguments), _only_size(request, work.model))


def unconditional(work: Work[Unconditional]) -> Outcome:
    request = work.request
    pipeline = view(request, work.model)
    pictures = work.call(pipeline, {"batch_size": request.num_images})
    return Outcome(pictures, _only_size(request, work.model))


FUNCTIONS: Mapping[str, Callable[..., Outcome]] = {
    "text-to-image": text_to_image,
    "image-to-image": image_to_image,
    "inpaint": inpaint,
    "edit": edits.edit,
    "upscale": upscale,
    "layout-to-image": layout_to_image,
    "class-to-image": class_to_image,
    "unconditional": unconditional,
}


def _keep(request: Request, image: Image.Image, why: str) -> Outcome:
    warning = f"{why}: the picture is the one that was given."
    return Outcome((np.asarray(image),) * request.num_images, (warning,))


def _only_size(request: Request, model: LoadedModel) -> tuple[str, ...]:
    """What to say if the request, made before the model was known, names another size."""
    size = (model.record.width, model.record.height)
    if (request.width, request.height) == size:
        return ()
    return (f"The model {model.record.name!r} makes pictures of {size[0]}x{size[1]} only.",)


def _multiple(pipeline: Any) -> int:
    """What both sides of a small picture have to be multiples of."""
    halvings = len(pipeline.unet.config.block_out_channels) - 1
    return math.lcm(2**halvings, getattr(pipeline, "vae_scale_factor", 1))


def _repeat(given: Any, count: int) -> Any:
    """A prompt, or its embedding of one row, for each of `count` pictures."""
    return torch.cat([given] * count) if isinstance(given, torch.Tensor) else [given] * count
