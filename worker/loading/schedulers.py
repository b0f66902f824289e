"""Noise schedulers: which of them suit a model, a fresh one for each job, and counting its steps;
worker only."""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import diffusers
import torch

from darkroom.errors import UnsupportedError
from darkroom.schedulers import SchedulerOptions
from worker.loading.flows import EULER, SOLVERS, flow_solver
from worker.loading.solvers import solver

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers import SchedulerMixin

# Compatible by diffusers' word, yet not on offer: EDM's expects networks with its own
# preconditioning, and the SDE solver draws noise that no generator of ours can repeat.
UNSUITABLE = frozenset({"EDMEulerScheduler", "DPMSolverSDEScheduler"})

# Option -> the argument that a class takes for it. The first three exclude one another.
SIGMAS = MappingProxyType(
    {
        "karras": "use_karras_sigmas",
        "exponential": "use_exponential_sigmas",
        "beta": "use_beta_sigmas",
    }
)
OPTIONS = MappingProxyType(
    {
        **SIGMAS,
        "timestep_spacing": "timestep_spacing",
        "original_inference_steps": "original_inference_steps",
    }
)

# They take the spacing of timesteps and do not look at it, or not at each.
DEAF = frozenset({"DDIMInverseScheduler", "LCMScheduler", "TCDScheduler"})

# They take over the configuration of any latent diffusion model, though diffusers does not list
# them: a LoRA makes a model one that was distilled for them.
DISTILLED = frozenset({"LCMScheduler", "TCDScheduler"})

# How much noise a step draws, as a share of what it could, where a request does not say it and
# pipelines would draw none: TCD's is the authors' choice (arXiv 2402.19159, its gamma).
ETA = MappingProxyType({"TCDScheduler": 0.3})

# Their steps tell, beside the sample, something else than what the picture will be.
FURTHER = frozenset({"TCDScheduler"})

# What a class takes for granted when the model's own configuration is silent does not fit latent
# diffusion: clipping is meant for pixels, and PNDM's first steps need four of them. The last is
# what DPM++ 2S comes to by itself, with a complaint.
FITTING = MappingProxyType(
    {"clip_sample": False, "skip_prk_steps": True, "lower_order_final": True}
)


Look = Callable[[], torch.Tensor]
"""Gives latents without the noise that is still in the sample, as far as the scheduler tells; else
the sample itself. They are on the device and as the pipeline lays them out, a row for each picture;
to be read or copied, never written. Whoever keeps them keeps their memory."""


class StepListener(Protocol):
    """Hears of the denoising steps of one job, in its greenlet, between two model calls."""

    def step(self, i: int, n: int, look: Look, /) -> None:
        """`i` of `n` steps are done; `look`, until this returns, gives the latents that the last of
        them led to."""

    def begins(self, part: int, /) -> None:
        """What follows is this part of the job, counted from 0: told of jobs that have several."""


class Nobody:
    """Listens to no steps."""

    def step(self, i: int, n: int, look: Look, /) -> None:
        """Hears it and does nothing."""

    def begins(self, part: int, /) -> None:
        """The same."""


NOBODY = Nobody()


class Schedulers:
    """The schedulers that suit one model, by diffusers class name."""

    def __init__(self, own: SchedulerMixin, *, only: Collection[str] | None = None) -> None:
        """`own` is the one the model came with; the others take over its configuration. `only`:
        those that its pipeline can work with, if it cannot work with all."""
        self.own = type(own).__name__
        self._config = own.to_json_string()
        self.sigmas = next((each for each in SIGMAS if own.config.get(SIGMAS[each])), None)
        self.timestep_spacing: str | None = own.config.get("timestep_spacing")
        names = [n for n in compatible(type(own)) if only is None or n in {*only, self.own}]
        self._fresh = {
            name: made
            for name in names
            if (made := _make(name, self._config))
            and (self.own in (name, EULER) or _can_step(name, self._config))
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._fresh)

    def new(self, name: str, options: SchedulerOptions | None = None) -> SchedulerMixin:
        """A scheduler for one job: it remembers its steps, so two jobs never share one. A copy
        of an unused one takes 0.2 ms, where `from_config` takes 1 ms and KDPM2's 100 ms.

        Raises UnsupportedError for an option that it does not take."""
        fresh = self._fresh[name]
        if changes := _changes(fresh, options):
            fresh = _make(name, self._config, changes)
        return copy.deepcopy(fresh)


def options_of(cls: type[SchedulerMixin]) -> tuple[str, ...]:
    """What a request's scheduler options may ask of a class: `karras`, `exponential` and `beta` as
    `sigmas`, and the other options by their own names."""
    known = inspect.signature(cls.__init__).parameters
    deaf = {"timestep_spacing"} if cls.__name__ in DEAF else set()
    laid_out = tuple(name for name in OPTIONS if OPTIONS[name] in known and name not in deaf)
    step: Any = getattr(cls, "step", None)
    return (*laid_out, "eta") if step and "eta" in inspect.signature(step).parameters else laid_out


def compatible(cls: type[SchedulerMixin]) -> list[str]:
    """Names of the classes that can take over this one's configuration, itself included, sorted."""
    names = {name for name in getattr(cls, "_compatibles", ()) if hasattr(diffusers, name)}
    if cls.__name__ == EULER:
        names = set(SOLVERS)
    if cls.__name__ in DISTILLED:
        names = set(diffusers.DDIMScheduler._compatibles)
    if "DDIMScheduler" in names:
        names |= DISTILLED
    return sorted(names - UNSUITABLE | {cls.__name__})


def step_eta(
    scheduler: SchedulerMixin, options: SchedulerOptions
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A layer around the scheduler's step, which tells it how much noise to draw: pipelines have
    an argument for that, or pass 0, or nothing."""
    eta = ETA.get(type(scheduler).__name__) if options.eta is None else options.eta

    def layer(inner: Callable[..., Any]) -> Callable[..., Any]:
        if eta is None or "eta" not in inspect.signature(inner).parameters:
            return inner

        @functools.wraps(inner)
        def step(*args: Any, **kwargs: Any) -> Any:
            return inner(*args, **{**kwargs, "eta": eta})

        return step

    return layer


def step_counter(
    pipeline: Any, steps: int, listener: StepListener
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A layer around the scheduler's step, which tells `listener` of each denoising step of
    `pipeline`, which makes `steps`.

    The scheduler is asked because it knows best: several pipelines have no callback, and Heun or
    PNDM take more calls than steps. `steps` is the scale that clients see."""

    def layer(inner: Callable[..., Any]) -> Callable[..., Any]:
        calls = told = 0

        @functools.wraps(inner)
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls, told
            result = inner(*args, **kwargs)
            calls += 1
            done = min(calls * steps // max(_calls_in_all(pipeline), 1), steps)
            if done > told:
                told = done
                listener.step(
                    done, steps, lambda: _without_noise(pipeline.scheduler, result, *args)
                )
            return result

        return step

    return layer


def _without_noise(
    scheduler: Any,
    result: Any,
    model_output: torch.Tensor | None = None,
    _: Any = None,
    sample: torch.Tensor | None = None,
    *_more: Any,
) -> torch.Tensor:
    """What a step that made `result` of `sample` expects at the end; where it does not say so, what
    it made."""
    after, *others = result if isinstance(result, tuple) else result.to_tuple()
    config = scheduler.config
    if others and type(scheduler).__name__ not in FURTHER:
        return others[0] if isinstance(others[0], torch.Tensor) else after
    in_memory = getattr(scheduler, "model_outputs", None)
    if in_memory and (config.get("predict_x0") or "++" in (config.get("algorithm_type") or "")):
        return in_memory[-1]
    if type(scheduler).__name__ == EULER and model_output is not None and sample is not None:
        return sample - scheduler.sigmas[scheduler.step_index - 1] * model_output
    return after


def _calls_in_all(pipeline: Any) -> int:
    if known := getattr(pipeline, "_num_timesteps", None):
        return known
    begin = getattr(pipeline.scheduler, "begin_index", None) or 0
    return len(pipeline.scheduler.timesteps) - begin


def _changes(
    scheduler: SchedulerMixin, options: SchedulerOptions | None
) -> tuple[tuple[str, Any], ...]:
    """The options as configuration. A kind of sigmas also switches off the others, which the
    model's own configuration may hold: diffusers takes one at most."""
    given = options.model_dump(exclude_none=True) if options else {}
    possible = options_of(type(scheduler))
    changes: dict[str, Any] = {}
    for field, value in given.items():
        option = value if field == "sigmas" else field
        if option not in possible or _is_of_flow(scheduler, field):
            name = type(scheduler).__name__
            raise UnsupportedError(f"{name} does not take {field} {value!r} with this model.")
        if field == "sigmas":
            changes |= {SIGMAS[each]: each == value for each in SIGMAS if each in possible}
        elif field in OPTIONS:  # the others are arguments of each step
            changes[field] = value
    return tuple(changes.items())


@functools.cache
def _can_step(name: str, config: str) -> bool:
    """Whether a scheduler knows what the network predicts: some take over the configuration of a
    rectified flow, or of a network that predicts the picture, and fail at their first step."""
    scheduler = copy.deepcopy(_make(name, config))
    if scheduler is None or scheduler.config.get("use_dynamic_shifting"):
        return scheduler is not None  # its timesteps depend on the size of the picture
    # Of three channels: where a network predicts variances, too, solvers take it for one of pixels.
    sample = torch.zeros(1, 3, 8, 8)
    try:
        scheduler.set_timesteps(2)
        timestep = scheduler.timesteps[0]
        scheduler.step(scheduler.scale_model_input(sample, timestep), timestep, sample)
    except (ValueError, NotImplementedError):
        return False
    return True


def _is_of_flow(scheduler: SchedulerMixin, field: str) -> bool:
    """Whether a solver for diffusion has no such option on a rectified flow: the sigmas of the
    model's own configuration, where it would take those of diffusion for others, or the spacing of
    timesteps that follow from the flow's sigmas."""
    if field == "sigmas":
        return bool(scheduler.config.get("use_flow_sigmas"))
    return field == "timestep_spacing" and hasattr(scheduler, "own")


@functools.cache
def _make(
    name: str, config: str, changes: tuple[tuple[str, Any], ...] = ()
) -> SchedulerMixin | None:
    """One that is never used, only copied; models of one family share it."""
    try:
        given = json.loads(config)
        if given["_class_name"] == EULER:
            return flow_solver(name, {**given, **dict(changes)})
        cls = solver(name)
        known = inspect.signature(cls.__init__).parameters
        fitting = {k: v for k, v in FITTING.items() if k in known and k not in given}
        return cls.from_config(given, **fitting, **dict(changes))
    except (ImportError, ValueError, NotImplementedError):
        return None  # an optional package is missing, or the model's configuration is beyond it
