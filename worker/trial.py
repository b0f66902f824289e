"""One small job outside of any queue, to see that a model makes pictures and to warm it up; worker
side."""

from dataclasses import replace

import torch
from PIL import Image

from darkroom.draft import Draft
from darkroom.errors import ModelLoadError
from darkroom.input_images import input_images
from darkroom.offers import USUAL_SIDE, Offer, nearest_allowed
from darkroom.request import UPSCALE
from darkroom.tasks import TASKS, Size
from darkroom.validation import completed, parse
from worker.loading.pipelines import LoadedModel
from worker.making import tasks

STEPS = 2
GREY = (128, 128, 128)


def run(
    model: LoadedModel, offer: Offer, *, task: str | None = None, largest: int | None = None
) -> tasks.Outcome:
    """A picture of the model's usual size in a few steps, of its first task if none is named.
    `largest`: pixels that no side shall be above, if card and model allow that.

    Raises ModelLoadError if it does no task, and whatever making a picture can raise."""
    if not offer.tasks:
        raise ModelLoadError(f"{offer.card.source} does none of the tasks that are offered")
    name = task or offer.tasks[0]
    if largest and TASKS[name].size is not Size.MODELS:
        offer = _no_larger(offer, largest)
    size = (offer.width or USUAL_SIDE, offer.height or USUAL_SIDE)
    if TASKS[name].size is Size.TIMES_FOUR:
        size = (max(size[0] // UPSCALE, 1), max(size[1] // UPSCALE, 1))
    request = completed(_draft(name, offer), offer, size)
    inputs = {place: Image.new("RGB", size, GREY) for place in input_images(request.model_dump())}
    with torch.no_grad():
        return tasks.run(request, model, inputs)


def _no_larger(offer: Offer, largest: int) -> Offer:
    width, height = (
        nearest_allowed(offer.limits, min(side or USUAL_SIDE, largest))
        for side in (offer.width, offer.height)
    )
    return replace(offer, width=width, height=height)


def _draft(task: str, offer: Offer) -> Draft:
    """The task's example, as far as the model takes it. Grey pictures take the place of its own."""
    example = TASKS[task].example
    body = {name: value for name, value in example.items() if name in offer.takes(task)}
    return parse(body | {"task": task, "seed": 0, "num_inference_steps": STEPS}, offer)
