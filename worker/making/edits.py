"""The task that makes pictures from others by an instruction; runs in a job's greenlet, knows no
other jobs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.input_images import MASK, edited
from darkroom.request import Edit
from worker.loading.editors import ARGUMENTS, EDITORS
from worker.making.canvas import canvas, fit
from worker.making.pipeline_call import parameters_of
from worker.making.work import Outcome, Work, call_with_prompt, view

_GUIDANCE = ("image_guidance_scale", "img_guidance_scale")
"""What calls name the scale of guidance by the pictures."""


def edit(work: Work[Edit]) -> Outcome:
    request, pipeline = work.request, view(work.request, work.model)
    images = [work.inputs[edited(index)] for index in range(len(request.images))]
    told = arguments(request, pipeline, images, work.model.record.size_multiple or 1)
    made = call_with_prompt(work, pipeline, **told)
    if MASK not in work.inputs:
        return made
    begun = canvas(request, images[0], work.inputs[MASK])
    return replace(made, pictures=tuple(begun.compose(picture) for picture in made.pictures))


def arguments(
    request: Edit, pipeline: Any, images: Sequence[Image.Image], multiple: int
) -> dict[str, Any]:
    """The arguments of its call that carry `images`, whose sides are brought to a `multiple` where
    their shape is kept. Raises UnsupportedError for more than the pipeline can work from."""
    editor, accepted = EDITORS[type(pipeline).__name__], parameters_of(pipeline)
    if len(images) > editor.most:
        most = "one" if editor.most == 1 else editor.most
        raise UnsupportedError(f"This model can work from {most} of the images, no more.")
    size = (request.width, request.height)
    brought = {
        "to its size": lambda image: fit(image, size),
        "to its pixels": lambda image: fit(image, _alike(image.size, size, multiple)),
        "not": lambda image: image.convert("RGB"),
    }[editor.brought]
    given = [brought(image) for image in images]
    [name] = [each for each in ARGUMENTS if each in accepted]
    told: dict[str, Any] = {name: given if editor.most > 1 else given[0]}
    for name in _GUIDANCE:
        if name in accepted:
            usual = accepted[name].default
            told[name] = request.image_guidance_scale or usual
            pipeline._image_guidance_scale = told[name]  # as its call is about to do
    return told


def _alike(of: tuple[int, int], size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """A size of the shape `of`, with as many pixels as `size`."""
    scale = float((size[0] * size[1] / (of[0] * of[1])) ** 0.5)
    width, height = (max(round(side * scale / multiple), 1) * multiple for side in of)
    return width, height
