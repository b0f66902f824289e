"""A picture that is made in two parts, the second of them larger: two calls of pipelines and what
becomes of the first one's picture between them; runs in a job's greenlet, knows no other jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.hires import LATENT, Hires, second_part, upscale_model
from darkroom.request import ImageToImage, Request, TextToImage
from worker.loading.schedulers import Look, StepListener
from worker.making.pipeline_call import steps_of
from worker.making.upscaling import enlarge
from worker.making.work import Outcome, Work, arguments_of, call_with_prompt, view


def in_two_parts(work: Work[TextToImage], hires: Hires) -> Outcome:
    """The pictures of a job that asks for `hires`.

    Raises UnsupportedError where its model has no latents of the final size."""
    first, second = work.request, _going_on(work.request)
    size, final = (first.width, first.height), (second.width, second.height)
    between = _between(work)
    requests = [first, *([between.request] if between else []), second]
    begin, *enlarging, end = _listeners(work.listener, requests)
    small, large = (view(each, work.model) for each in (first, second))
    work.listener.begins(0)
    begun = replace(work, listener=begin)
    arguments, warnings = arguments_of(begun, small)
    if hires.upscaler == LATENT:
        latents = begun.output(small, {**arguments, "output_type": "latent"})
        enlarged: Any = _enlarge_latents(latents, small, size, final)
    else:
        pictures = begun.call(small, arguments)
        if between is not None:
            work.listener.begins(1)
            upscaled = enlarge(
                replace(between, listener=enlarging[0]),
                [Image.fromarray(each) for each in pictures],
            )
            pictures, warnings = upscaled.pictures, [*warnings, *upscaled.warnings]
        enlarged = _resize(pictures, final)
    work.listener.begins(len(requests) - 1)
    ended = Work(second, work.model, work.inputs, end)
    made = call_with_prompt(ended, large, image=enlarged, strength=second.strength)
    return replace(made, warnings=tuple(warnings))


def _going_on(request: TextToImage) -> ImageToImage:
    """The second part, as a request that begins with the enlarged picture."""
    values = second_part(request.model_dump())
    assert values is not None, "it asks for a second part"
    del values["hires"]
    return ImageToImage.model_validate({**values, "task": "image-to-image", "image": ""})


def _between(work: Work[TextToImage]) -> Work[Any] | None:
    """What another model does between the parts; None if the pictures are just resized.

    Raises UnsupportedError if that model is not there."""
    request = work.request
    if (name := upscale_model(request.model_dump())) is None:
        return None
    if work.upscaler is None:
        raise UnsupportedError(f"The model {name!r} is not there to enlarge the picture.")
    # Of a deterministic job each picture is a request of its own.
    same = {"seed": request.seed, "num_images": request.num_images}
    return Work(
        work.upscaler.request.model_copy(update=same), work.upscaler.model, {}, work.listener
    )


def _enlarge_latents(
    latents: torch.Tensor, pipeline: Any, size: tuple[int, int], final: tuple[int, int]
) -> torch.Tensor:
    """Latents as `pipeline`, which made pictures of `size`, returned them, bilinearly enlarged to
    those of pictures of `final` size, both width and height in pixels; (n, channels, height,
    width).

    Raises UnsupportedError where no latents are of that size."""
    if latents.ndim == 3:  # packed, as transformers read them
        latents = pipeline._unpack_latents(latents, size[1], size[0], pipeline.vae_scale_factor)
    factor = size[1] // latents.shape[2]
    if final[0] % factor or final[1] % factor:
        raise UnsupportedError(
            f"hires.scale would make {final[0]} x {final[1]}, no multiples of {factor}."
        )
    sides = (final[1] // factor, final[0] // factor)
    return torch.nn.functional.interpolate(latents, sides, mode="bilinear")


def _resize(pictures: Sequence[np.ndarray], final: tuple[int, int]) -> list[Image.Image]:
    """Decoded pictures of another size, width and height, by Lanczos' filter."""
    lanczos = Image.Resampling.LANCZOS
    return [Image.fromarray(each).resize(final, lanczos) for each in pictures]


def _listeners(listener: StepListener, requests: Sequence[Request]) -> list[StepListener]:
    """Who hears of the steps of each part."""
    steps = [steps_of(each) for each in requests]
    return [_Part(listener, sum(steps[:i]), sum(steps)) for i in range(len(steps))]


@dataclass(frozen=True)
class _Part:
    """Tells the steps of one part as steps of all, of which `done` are made before it."""

    listener: StepListener
    done: int
    count: int

    def step(self, i: int, _: int, look: Look) -> None:
        self.listener.step(self.done + i, self.count, look)

    def begins(self, part: int) -> None:
        """It has no parts of its own."""
