"""What the functions of tasks share: the work that each is given, and the call of a pipeline that
follows a prompt; runs in a job's greenlet, knows neither Redis nor other jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from PIL import Image

from darkroom.control_maps import control_map
from darkroom.input_images import Place, control
from darkroom.request import Prompted, Request, Upscale
from darkroom.request_parts import Control
from worker.loading.pipelines import LoadedModel
from worker.loading.schedulers import StepListener
from worker.making import guidance, prompts, sizes
from worker.making.pipeline_call import call_pipeline, parameters_of, pixels

Inputs = Mapping[Place, Image.Image]
Asked = TypeVar("Asked", bound=Request, covariant=True)


@dataclass(frozen=True)
class Outcome:
    """What a job made. Picture i has the seed of the request plus i; where each is taken apart into
    n layers, those of picture i are n i, n i + 1, ..."""

    pictures: tuple[np.ndarray, ...]
    """uint8, height x width x 3, or x 4 where they are transparent."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upscaler:
    """Another model, which enlarges what the job's own has made."""

    model: LoadedModel
    request: Upscale
    """What is asked of it."""


@dataclass(frozen=True)
class Work(Generic[Asked]):
    """What the function of a task works on."""

    request: Asked
    model: LoadedModel
    inputs: Inputs
    listener: StepListener
    upscaler: Upscaler | None = None

    def call(self, pipeline: Any, arguments: dict[str, Any]) -> tuple[np.ndarray, ...]:
        """The pictures of one call of `pipeline`."""
        return pixels(self.output(pipeline, arguments))

    def output(self, pipeline: Any, arguments: dict[str, Any]) -> Any:
        """What comes of one call of `pipeline`."""
        return call_pipeline(self.request, pipeline, self.listener, arguments)


def view(request: Request, model: LoadedModel, task: str | None = None) -> Any:
    """The job's own pipeline, with the adapters that it asks for; `task`: the one for another."""
    return model.view(
        task or request.task,
        request.scheduler,
        request.scheduler_options,
        adapters=model.adapters.choose(request),
    )


def call_with_prompt(work: Work[Prompted], pipeline: Any, **more: Any) -> Outcome:
    arguments, warnings = arguments_of(work, pipeline, **more)
    pictures = work.call(pipeline, arguments)
    sizes.compare(pictures, work.request)
    return Outcome(pictures, tuple(warnings))


def arguments_of(
    work: Work[Prompted], pipeline: Any, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    """Of a call that follows a prompt, and what is to be said of that."""
    request = work.request
    given, warnings = prompts.arguments(request, pipeline)
    arguments = {
        **given,
        **guidance.arguments(request, pipeline, given),
        **sizes.arguments(request, pipeline),
        **work.model.adapters.arguments(request, work.inputs),
        **_controls(request, work.inputs, pipeline),
        **more,
    }
    if request.num_images > 1:
        arguments["num_images_per_prompt"] = request.num_images
    if request.guidance_rescale:
        arguments["guidance_rescale"] = request.guidance_rescale
    return arguments, warnings


def _controls(request: Prompted, inputs: Inputs, pipeline: Any) -> dict[str, Any]:
    controls: tuple[Control, ...] = getattr(request, "controls", ())
    if not controls:
        return {}
    size = (request.width, request.height)
    maps = [
        control_map(inputs[control(i)], each.preprocess, size) for i, each in enumerate(controls)
    ]
    arguments: dict[str, list[Any]] = {
        "control_image" if "control_image" in parameters_of(pipeline) else "image": maps,
        "controlnet_conditioning_scale": [each.scale for each in controls],
        "control_guidance_start": [each.start for each in controls],
        "control_guidance_end": [each.end for each in controls],
    }
    if len(controls) == 1:
        return {name: each for name, [each] in arguments.items()}
    return arguments
