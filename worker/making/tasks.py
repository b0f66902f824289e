"""A request becomes one call of one unmodified diffusers pipeline, a function per task; runs in a
job's greenlet, knows neither Redis nor other jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import IMAGE, MASK
from darkroom.request import (
    ClassToImage,
    ImageToImage,
    Inpaint,
    LayoutToImage,
    Request,
    TextToImage,
    Unconditional,
)
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import NOBODY, Look, StepListener
from worker.making import edits, shapes, sizes
from worker.making.canvas import Around, canvas, fit
from worker.making.hires import in_two_parts
from worker.making.pipeline_call import parameters_of, steps_of
from worker.making.upscaling import upscale
from worker.making.work import Inputs, Outcome, Upscaler, Work, call_with_prompt, view


def run(
    request: Request,
    model: LoadedModel,
    inputs: Inputs,
    listener: StepListener = NOBODY,
    *,
    upscaler: Upscaler | None = None,
) -> Outcome:
    """Make the pictures of `request`; `inputs` holds its input pictures by where they stand in it,
    `listener` hears of each denoising step, `upscaler` is the model that its `hires` names.

    Raises UnsupportedError for what the model turns out not to do, InvalidOutputError."""
    if request.task not in model.pipelines:
        raise UnsupportedError(f"The model {model.record.name!r} does not do {request.task}.")
    made = _made(Work(request, model, inputs, listener, upscaler))
    return replace(made, warnings=(*shapes.stretched(request, inputs), *made.warnings))


def _made(work: Work[Request]) -> Outcome:
    request, model = work.request, work.model
    if request.num_images > 1 and (request.deterministic or model.takes_apart):
        return _one_by_one(work)
    return FUNCTIONS[request.task](work)


def _one_by_one(work: Work[Request]) -> Outcome:
    """Each picture in the rows that it has when it is asked for by itself: then its bits are the
    same, however many there are. Qwen-Image-Layered's pipeline mixes up the layers of several."""
    request, made = work.request, []
    for index in range(request.num_images):
        one = request.model_copy(update={"seed": request.seed + index, "num_images": 1})
        listener = _OneOfMany(work.listener, index, request.num_images)
        made.append(FUNCTIONS[one.task](replace(work, request=one, listener=listener)))
    warnings = dict.fromkeys(warning for each in made for warning in each.warnings)
    pictures = tuple(picture for each in made for picture in each.pictures)
    return Outcome(pictures, tuple(warnings))


@dataclass(frozen=True)
class _OneOfMany:
    """Tells the steps of one of `count` pictures as steps of all, when `done` are made."""

    listener: StepListener
    done: int
    count: int

    def step(self, i: int, n: int, look: Look) -> None:
        self.listener.step(self.done * n + i, self.count * n, look)

    def begins(self, part: int) -> None:
        self.listener.begins(part)


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
    pipeline = view(request, work.model)
    told: list[str] = []
    by_controlnet = "control_mask" in parameters_of(pipeline)
    if by_controlnet and request.strength < 1:
        told.append("With a ControlNet for inpainting strength does nothing: it is as 1.")
        request = request.model_copy(update={"strength": 1.0})
        work = replace(work, request=request)
    if steps_of(request) == 0:
        return _keep(request, begun.whole, "strength leaves no step to make")
    if begun.is_kept:
        return _keep(request, begun.whole, "the mask leaves nothing to repaint")
    if begun.around:
        work = replace(work, inputs=_in_part(begun.around, work.inputs))
    blocks = begun.blocks(pipeline.vae_scale_factor)
    start: dict[str, Any]
    if by_controlnet:
        each = [begun.picture] * len(request.controls)
        start = {"control_image": each if len(each) > 1 else each[0], "control_mask": blocks}
    else:
        start = {
            "image": sizes.start(begun.picture, request.num_images, pipeline),
            "mask_image": blocks,
            "strength": request.strength,
        }
    made = call_with_prompt(work, pipeline, **start)
    if MASK in work.inputs and begun.is_all_new and not begun.around:
        told.append("The mask selects the whole picture: nothing of it is kept.")
    made = replace(made, warnings=(*made.warnings, *told))
    return replace(made, pictures=tuple(begun.compose(picture) for picture in made.pictures))


def _in_part(around: Around, inputs: Inputs) -> Inputs:
    """The pictures of a job, of those that controls look at the part that is made."""
    return {
        place: around.part_of(picture) if place.field == "controls" else picture
        for place, picture in inputs.items()
    }


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
