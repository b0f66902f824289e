"""Pictures made four times larger by a model for that; runs in a job's greenlet, knows no other
jobs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from darkroom.input_images import IMAGE
from darkroom.request import UPSCALE, Upscale
from worker.making import prompts
from worker.making.canvas import extend
from worker.making.pipeline_call import parameters_of
from worker.making.work import Outcome, Work, view


def upscale(work: Work[Upscale]) -> Outcome:
    return enlarge(work, [work.inputs[IMAGE]] * work.request.num_images)


def enlarge(work: Work[Upscale], images: Sequence[Image.Image]) -> Outcome:
    """Each of `images`, which are of one size and as many as the request has pictures."""
    request = work.request
    pipeline = view(request, work.model)
    width, height = (UPSCALE * side for side in images[0].size)
    whole = [extend(image, _multiple(pipeline)) for image in images]
    if "prompt" not in parameters_of(pipeline):
        # As a tensor: a picture alone it would shrink to a multiple of 32.
        pixels = [torch.from_numpy(np.asarray(each) / np.float32(127.5) - 1) for each in whole]
        arguments: dict[str, Any] = {"image": torch.stack([p.permute(2, 0, 1) for p in pixels])}
        warnings: list[str] = []
    else:
        # A prompt and a picture each: the noise on a picture that several share is the first one's.
        given, warnings = prompts.arguments(request, pipeline)
        arguments = {name: _repeat(each, request.num_images) for name, each in given.items()} | {
            "image": whole,
            "guidance_scale": request.guidance_scale,
            "noise_level": request.noise_level,
        }
    pictures = work.call(pipeline, arguments)
    return Outcome(tuple(each[:height, :width] for each in pictures), tuple(warnings))


def _multiple(pipeline: Any) -> int:
    """What both sides of a small picture have to be multiples of."""
    halvings = len(pipeline.unet.config.block_out_channels) - 1
    return math.lcm(2**halvings, getattr(pipeline, "vae_scale_factor", 1))


def _repeat(given: Any, count: int) -> Any:
    """A prompt, or its embedding of one row, for each of `count` pictures."""
    return torch.cat([given] * count) if isinstance(given, torch.Tensor) else [given] * count
