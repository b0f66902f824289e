"""One call of a diffusers pipeline: which arguments it takes, whose noise its steps draw, what
becomes of its output; runs in a job's greenlet, knows no models and no other jobs."""

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from darkroom.errors import InvalidOutputError, UnsupportedError
from darkroom.request import Request
from worker.loading.schedulers import StepListener, step_counter, step_eta
from worker.loading.stack import Layer, replace_step

# What a request always has, and some pipelines have no argument for: the picture they begin with
# has the size, and a model without classifier-free guidance has no use for its scale.
_LEFT_OUT = {"width", "height", "guidance_scale"}
_CHECKS = {"check_inputs", "check_image_input"}
_PROCESSORS = ("transformers/processing_utils.py", "omnigen/processor_omnigen.py")
_UNREAD = (
    "The prompt cannot be read beside the pictures: it is too long, or has marks in it that stand "
    "for other pictures, such as <|image_pad|>."
)


def call_pipeline(
    request: Request, pipeline: Any, listener: StepListener, arguments: dict[str, Any]
) -> torch.Tensor | np.ndarray:
    """What `pipeline` makes of `request`, one for each picture, when it is called with `arguments`
    and with what all tasks have; `listener` hears of its steps.

    Raises UnsupportedError."""
    accepted = parameters_of(pipeline)
    drawn_from = generators(request.seed, request.num_images)
    arguments = {
        "num_inference_steps": request.num_inference_steps,
        "generator": drawn_from,
        "output_type": "pt",
        **{k: v for k, v in arguments.items() if k in accepted or k not in _LEFT_OUT},
    }
    if "intermediate_timesteps" in accepted and request.num_inference_steps != 2:
        arguments["intermediate_timesteps"] = None  # of SANA-Sprint, for two steps alone
    if unknown := next((name for name in arguments if name not in accepted), None):
        raise UnsupportedError(f"{type(pipeline).__name__} takes no {unknown}.")
    layers = (
        step_seeder(drawn_from),
        step_eta(pipeline.scheduler, request.scheduler_options),
        step_counter(pipeline, steps_of(request), listener),
    )
    try:
        with replace_step(pipeline.scheduler, *layers):
            made = next(iter(pipeline(**arguments).values()))
            # `images`, which Kandinsky 5 calls `image`, and of which Qwen-Image-Layered has a list
            return torch.cat(made) if isinstance(made, list) else made
    except (ValueError, LookupError, ArithmeticError, AssertionError) as error:
        if _raiser_of(error) in _CHECKS:  # before anything ran, and in words for people
            raise UnsupportedError(str(error)) from None
        if _is_of_processor(error):
            raise UnsupportedError(_UNREAD) from error
        if _is_of_scheduler(error):
            raise UnsupportedError(_beyond(request, error)) from error
        raise


def parameters_of(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(pipeline.__call__).parameters


def steps_of(request: Request) -> int:
    """The steps that are made: fewer than asked for where strength skips the first ones."""
    return int(request.num_inference_steps * getattr(request, "strength", 1.0))


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One per picture, on the CPU: the same noise on every device and in every company."""
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def step_seeder(drawn_from: list[torch.Generator]) -> Layer:
    """Lets each step draw its noise from the pictures' own generators: the pipelines without a
    prompt forget to. Under guidance there are two rows to each picture."""

    def layer(inner: Callable[..., Any]) -> Callable[..., Any]:
        if "generator" not in inspect.signature(inner).parameters:
            return inner

        @functools.wraps(inner)
        def step(model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("generator") is None:
                kwargs["generator"] = drawn_from * (model_output.shape[0] // len(drawn_from))
            return inner(model_output, *args, **kwargs)

        return step

    return layer


def _raiser_of(error: BaseException) -> str:
    """The name of the function that raised."""
    return traceback.extract_tb(error.__traceback__)[-1].name


def _is_of_processor(error: BaseException) -> bool:
    """Whether what reads prompts and pictures together raised it."""
    return _files_of(error)[-1].endswith(_PROCESSORS)


def _is_of_scheduler(error: BaseException) -> bool:
    """Whether a noise scheduler of diffusers raised it: it would whenever it is asked the same."""
    return any("/diffusers/schedulers/" in file for file in _files_of(error))


def _files_of(error: BaseException) -> list[str]:
    """Those whose functions it passed, the one that raised it last."""
    frames = traceback.extract_tb(error.__traceback__)
    return [Path(frame.filename).as_posix() for frame in frames]


def _beyond(request: Request, error: BaseException) -> str:
    asked = f"{request.num_inference_steps} steps with {request.scheduler}"
    options = request.scheduler_options.model_dump(exclude_none=True)
    with_options = "".join(f", {name} {value}" for name, value in options.items())
    return f"This model cannot make {asked}{with_options}: {type(error).__name__}: {error}"[:500]


def pixels(images: torch.Tensor | np.ndarray) -> tuple[np.ndarray, ...]:
    """uint8 arrays, height x width x channels, from an (n, channels, height, width) tensor of 0 to
    1, or from an array whose channels come last; converted on the device, so that a quarter of the
    bytes travels.

    Raises InvalidOutputError."""
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images).permute(0, 3, 1, 2)
    if not images.isfinite().all():
        raise InvalidOutputError(
            "The model's output holds values that are not numbers; its dtype may be too narrow."
        )
    eight_bits = images.float().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return tuple(eight_bits.permute(0, 2, 3, 1).contiguous().cpu().numpy())
