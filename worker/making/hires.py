"""A picture that is made in two parts, the second of them larger: two calls of pipelines and what
becomes of the first one's picture between them; runs in a job's greenlet, knows no other jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkroom.errors import UnsupportedError
from darkroom.hires import Hires, second_part
from darkroom.request import ImageToImage, TextToImage
from worker.loading.schedulers import StepListener
from worker.making.pipeline_call import steps_of
from worker.making.work import Outcome, Work, arguments_of, call_with_prompt, view


def in_two_parts(work: Work[TextToImage], hires: Hires) -> Outcome:
    """The pictures of a job that asks for `hires`.

    Raises UnsupportedError where its model cannot go on with what is enlarged."""
    first, second = work.request, _going_on(work.request)
    size, final = (first.width, first.height), (second.width, second.height)
    small, large = (view(each, work.model) for each in (first, second))
    steps, more = steps_of(first), steps_of(second)
    work.listener.makes(*size)
    begun = replace(work, listener=_Part(work.listener, 0, steps + more))
    arguments, warnings = arguments_of(begun, small)
    if hires.upscaler == "latent":
        _check_latents(large)
        latents = begun.output(small, {**arguments, "output_type": "latent"})
        enlarged: Any = _enlarge_latents(latents, small, size, final)
    else:
        enlarged = _enlarge_pictures(begun.call(small, arguments), final)
    work.listener.makes(*final)
    ended = Work(second, work.model, work.inputs, _Part(work.listener, steps, steps + more))
    made = call_with_prompt(ended, large, image=enlarged, strength=second.strength)
    return replace(made, warnings=tuple(warnings))


def _going_on(request: TextToImage) -> ImageToImage:
    """The second part, as a request that begins with the enlarged picture."""
    values = second_part(request.model_dump())
    assert values is not None, "it asks for a second part"
    del values["hires"]
    return ImageToImage.model_validate({**values, "task": "image-to-image", "image": ""})


def _check_latents(pipeline: Any) -> None:
    """Whether `pipeline`, of image-to-image, also begins with latents, two-dimensional and of a
    number of channels by which it tells them from pictures.

    Raises UnsupportedError."""
    processor, vae = (getattr(pipeline, name, None) for name in ("image_processor", "vae"))
    known = getattr(getattr(processor, "config", None), "vae_latent_channels", None)
    if known is None or known != getattr(getattr(vae, "config", None), "latent_channels", None):
        raise UnsupportedError(
            "This model does not go on from latents: ask for hires.upscaler lanczos."
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


def _enlarge_pictures(pictures: Sequence[np.ndarray], final: tuple[int, int]) -> list[Image.Image]:
    """The same of decoded pictures, by Lanczos' filter."""
    lanczos = Image.Resampling.LANCZOS
    return [Image.fromarray(each).resize(final, lanczos) for each in pictures]


@dataclass(frozen=True)
class _Part:
    """Tells the steps of one part as steps of all, of which `done` are made before it."""

    listener: StepListener
    done: int
    count: int

    def step(self, i: int, _: int, latents: torch.Tensor) -> None:
        self.listener.step(self.done + i, self.count, latents)

    def makes(self, width: int, height: int) -> None:
        self.listener.makes(width, height)
