"""One small job outside of any queue, to see that a model makes pictures and to warm it up; worker
side."""

from typing import Any

import torch
from PIL import Image

from darkroom.errors import ModelLoadError
from darkroom.offers import Offer
from darkroom.request import Request, input_images
from darkroom.validation import completed, parse
from worker.loading.pipelines import LoadedModel
from worker.making import tasks

STEPS = 2
GREY = (128, 128, 128)
NOWHERE = f"file_{64 * '0'}"
"""Stands for the input picture, which is handed over beside the request."""


def run(model: LoadedModel, offer: Offer, *, task: str | None = None) -> tasks.Outcome:
    """A picture of the model's usual size in a few steps, of its first task if none is named.

    Raises ModelLoadError if it does no task, and whatever making a picture can raise."""
    if not offer.tasks:
        raise ModelLoadError(f"{offer.card.source} does none of the tasks that are offered")
    request = _request(task or offer.tasks[0], offer)
    size = (offer.width, offer.height)
    if request.task == "upscale":
        size = (request.width // 4, request.height // 4)
    inputs = {name: Image.new("RGB", size, GREY) for name in input_images(request)}
    with torch.no_grad():
        return tasks.run(request, model, inputs, on_step=lambda *_: None)


def _request(task: str, offer: Offer) -> Request:
    asked: dict[str, Any] = {
        "prompt": "a photograph of a cat",
        "image": NOWHERE,
        "mask_image": NOWHERE,
        "regions": [{"phrase": "a cat", "box": [0.25, 0.25, 0.75, 0.75]}],
        "class_label": 0,
    }
    body = {name: value for name, value in asked.items() if name in offer.takes(task)}
    body |= {"task": task, "seed": 0, "num_inference_steps": STEPS}
    small = (max(offer.width // 4, 1), max(offer.height // 4, 1))
    return completed(parse(body, offer).request, offer, small if task == "upscale" else None)
