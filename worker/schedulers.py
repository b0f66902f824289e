"""Noise schedulers: which of them suit a model, a fresh one for each job, and counting its steps;
worker only."""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import diffusers

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers import SchedulerMixin

# Compatible by diffusers' word, yet not on offer: EDM's expects networks with its own
# preconditioning, and the SDE solver draws noise that no generator of ours can repeat.
UNSUITABLE = frozenset({"EDMEulerScheduler", "DPMSolverSDEScheduler"})

# Needs a package that Darkroom does not bring; on offer where somebody installed it.
NEEDS_MORE = frozenset({"LMSDiscreteScheduler"})

# What a class takes for granted when the model's own configuration is silent does not fit latent
# diffusion: clipping is meant for pixels, and PNDM's first steps need four of them.
FITTING = MappingProxyType({"clip_sample": False, "skip_prk_steps": True})

OnStep = Callable[[int, int], None]


class Schedulers:
    """The schedulers that suit one model, by diffusers class name."""

    def __init__(self, own: SchedulerMixin) -> None:
        """`own` is the one the model came with; the others take over its configuration."""
        self.own = type(own).__name__
        config = own.to_json_string()
        names = compatible(type(own))
        self._fresh = {name: made for name in names if (made := _made(name, config))}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._fresh)

    def new(self, name: str) -> SchedulerMixin:
        """A scheduler for one job: it remembers its steps, so two jobs never share one. A copy
        of an unused one takes 0.2 ms, where `from_config` takes 1 ms and KDPM2's 100 ms."""
        return copy.deepcopy(self._fresh[name])


def compatible(cls: type[SchedulerMixin]) -> list[str]:
    """Names of the classes that can take over this one's configuration, itself included, sorted."""
    names = {name for name in getattr(cls, "_compatibles", ()) if hasattr(diffusers, name)}
    return sorted(names - UNSUITABLE | {cls.__name__})


@contextmanager
def counted(pipeline: Any, steps: int, on_step: OnStep) -> Iterator[None]:
    """Call `on_step(step, steps)` after each denoising step of `pipeline`, which makes `steps`.

    The scheduler is asked because it knows best: several pipelines have no callback, and Heun or
    PNDM take more calls than steps. `steps` is the scale that clients see."""
    scheduler = pipeline.scheduler
    inner, calls, told = scheduler.step, 0, 0

    @functools.wraps(inner)
    def step(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls, told
        result = inner(*args, **kwargs)
        calls += 1
        done = min(calls * steps // max(_calls_in_all(pipeline), 1), steps)
        if done > told:
            told = done
            on_step(done, steps)
        return result

    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step  # the cycle through it would keep tensors until the next collection


def _calls_in_all(pipeline: Any) -> int:
    if known := getattr(pipeline, "_num_timesteps", None):
        return known
    begin = getattr(pipeline.scheduler, "begin_index", None) or 0
    return len(pipeline.scheduler.timesteps) - begin


@functools.cache
def _made(name: str, config: str) -> SchedulerMixin | None:
    """One that is never used, only copied; models of one family share it."""
    try:
        cls = getattr(diffusers, name)
        known = inspect.signature(cls.__init__).parameters
        given = json.loads(config)
        fitting = {k: v for k, v in FITTING.items() if k in known and k not in given}
        return cls.from_config(given, **fitting)
    except (ImportError, ValueError, NotImplementedError):
        return None  # an optional package is missing, or the model's configuration is beyond it
