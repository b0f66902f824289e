"""What diffusers' noise schedulers get wrong, set right in classes of the same names; worker only,
knows no models and no jobs.

Each keeps to its formulas: what is mended is where it is told to stand. Steps that round to the
same timestep, steps that are not as long as those that were laid out, and solvers of several steps
that begin in the middle, as they do from a picture on, end in another picture or in an error.
"""

from __future__ import annotations

import functools
import inspect
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from scipy import stats  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffusers import SchedulerMixin

# They round the timesteps of sigmas that a formula lays out, until several are the same.
ROUNDING = frozenset(
    {
        "DEISMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "UniPCMultistepScheduler",
    }
)
# They take each step to be as long as the others, which only some numbers of steps allow.
EVEN = frozenset({"DDIMScheduler", "PNDMScheduler"})
# They lay out every step of training, one by one, when they are made: half a second of each first
# load, for what no pipeline ever uses.
SLOW = frozenset({"KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler"})


@functools.cache
def solver(name: str) -> type[SchedulerMixin]:
    """The class of diffusers by that name, mended where it needs it.

    Raises AttributeError where diffusers has none, ImportError for a package that it wants."""
    cls = getattr(diffusers, name)
    known = inspect.signature(cls.__init__).parameters
    parts: list[Callable[[Any], dict[str, Any]]] = []
    if hasattr(cls, "index_for_timestep"):
        parts.append(_from_the_first)
    if "use_beta_sigmas" in known and "trained_betas" in known:
        parts.append(_beta_of_timesteps)
    if name in ROUNDING:
        parts.append(_exact_timesteps)
    if name == "LMSDiscreteScheduler":
        parts.append(_from_what_is_known)
    if name == "PNDMScheduler":
        parts.append(_from_the_middle)
    if name in EVEN:
        parts.append(_uneven_steps)
    if name in SLOW:
        parts.append(_laid_out_when_asked)
    for part in parts:
        cls = type(name, (cls,), {"__module__": cls.__module__, **part(cls)})
    return cls


def _laid_out_when_asked(base: Any) -> dict[str, Any]:
    def set_timesteps(
        self: Any, num_inference_steps: int, device: Any = None, num_train_timesteps: Any = None
    ) -> None:
        is_new = num_train_timesteps is not None  # which no pipeline says
        base.set_timesteps(self, 2 if is_new else num_inference_steps, device, num_train_timesteps)

    return {"set_timesteps": set_timesteps}


def _from_the_first(base: Any) -> dict[str, Any]:
    """Where the first two timesteps are the same, diffusers begins with the second, and reads past
    the end of the sigmas with the last."""

    def index_for_timestep(
        self: Any, timestep: Any, schedule_timesteps: torch.Tensor | None = None
    ) -> int:
        laid_out = self.timesteps if schedule_timesteps is None else schedule_timesteps
        if len(laid_out) and laid_out[0] == timestep:
            return 0
        return base.index_for_timestep(self, timestep, laid_out)

    return {"index_for_timestep": index_for_timestep}


def _beta_of_timesteps(_base: Any) -> dict[str, Any]:
    """Timesteps by a beta distribution, as in "Beta Sampling is All You Need" (arXiv 2407.12173)
    and ComfyUI. diffusers distributes sigmas instead, and leaves so few of them low that a solver
    of second order falls out of its path: another picture."""

    def _convert_to_beta(
        self: Any,
        in_sigmas: np.ndarray,
        num_inference_steps: int,
        alpha: float = 0.6,
        beta: float = 0.6,
    ) -> np.ndarray:
        of_model = _sigmas_of_model(self)
        first, last = (self._sigma_to_t(in_sigmas[i], np.log(of_model)) for i in (0, -1))
        shares = stats.beta.ppf(1 - np.linspace(0, 1, num_inference_steps), alpha, beta)
        timesteps = last + shares * (first - last)
        return np.interp(timesteps, np.arange(len(of_model)), of_model)

    return {"_convert_to_beta": _convert_to_beta}


def _sigmas_of_model(scheduler: Any) -> np.ndarray:
    """What noise each timestep of training has, against the picture."""
    kept = scheduler.alphas_cumprod.cpu().numpy()
    return np.sqrt((1 - kept) / kept)


def _exact_timesteps(base: Any) -> dict[str, Any]:
    """Fractions, as Euler's: what the network is told is the noise that there is."""

    @functools.wraps(base.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        base.set_timesteps(self, *args, **kwargs)
        if not _has_sigmas_of_a_formula(self.config):
            return
        of_model = np.log(_sigmas_of_model(self))
        calls = self.sigmas[: len(self.timesteps)].cpu().numpy()
        exact = np.array([self._sigma_to_t(sigma, of_model) for sigma in calls], dtype=np.float32)
        self.timesteps = torch.from_numpy(exact).to(self.timesteps.device)

    return {"set_timesteps": set_timesteps}


def _has_sigmas_of_a_formula(config: Any) -> bool:
    kinds = ("karras", "exponential", "beta")
    formula = any(config.get(f"use_{kind}_sigmas") for kind in kinds)
    return (formula or bool(config.get("use_lu_lambdas"))) and not config.get("use_flow_sigmas")


def _from_what_is_known(base: Any) -> dict[str, Any]:
    """LMS weighs as many earlier steps as its place in the schedule allows, though it has made
    none of them when it begins in the middle."""

    @functools.wraps(base.step)
    def step(
        self: Any,
        model_output: torch.Tensor,
        timestep: Any,
        sample: torch.Tensor,
        order: int = 4,
        return_dict: bool = True,
    ) -> Any:
        known = min(order, len(self.derivatives) + 1)
        return base.step(self, model_output, timestep, sample, known, return_dict)

    return {"step": step}


def _from_the_middle(base: Any) -> dict[str, Any]:
    """PLMS calls the network twice for its first step, so a pipeline that leaves out steps begins
    one too early and knows nothing of the second call. Then its first call is for nothing, and the
    noise that of the step after it; but where that is the second call, for nothing is that."""

    @functools.wraps(base.set_timesteps)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        base.set_timesteps(self, *args, **kwargs)
        self.idle_at = None

    @functools.wraps(base.add_noise)
    def add_noise(
        self: Any, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        first = timesteps[0]
        if self.idle_at is None and _is_late(self, first) and first != self.timesteps[1]:
            place = (self.timesteps == first).nonzero()[0] + 1
            timesteps = self.timesteps[place].expand(len(timesteps))
        return base.add_noise(self, original_samples, noise, timesteps)

    @functools.wraps(base.step)
    def step(
        self: Any,
        model_output: torch.Tensor,
        timestep: Any,
        sample: torch.Tensor,
        return_dict: bool = True,
    ) -> Any:
        is_idle = self.idle_at is not None and timestep == self.idle_at
        if self.idle_at is None and _is_late(self, timestep):
            self.idle_at = timestep
            is_idle = timestep != self.timesteps[1]
        if is_idle:
            return SchedulerOutput(prev_sample=sample) if return_dict else (sample,)
        result = base.step(self, model_output, timestep, sample, return_dict)
        if self.idle_at is not None and self.counter == 1:
            self.counter = 2  # what comes is the next step, not this one once more
        return result

    return {"set_timesteps": set_timesteps, "add_noise": add_noise, "step": step}


def _is_late(scheduler: Any, timestep: Any) -> bool:
    """Whether a PNDM scheduler without Runge-Kutta steps is to begin here, in the middle."""
    is_begin = scheduler.counter == 0 and scheduler.config.skip_prk_steps
    return bool(is_begin and timestep != scheduler.timesteps[0])


def _uneven_steps(base: Any) -> dict[str, Any]:
    """They find the next timestep by counting back `num_train_timesteps // num_inference_steps`."""

    @functools.wraps(base.step)
    def step(
        self: Any, model_output: torch.Tensor, timestep: Any, *args: Any, **kwargs: Any
    ) -> Any:
        steps = self.num_inference_steps
        # As a fraction, so that the quotient is the step that was laid out, exactly.
        self.num_inference_steps = Fraction(self.config.num_train_timesteps, _gap(self, timestep))
        try:
            return base.step(self, model_output, timestep, *args, **kwargs)
        finally:
            self.num_inference_steps = steps

    return {"step": step}


def _gap(scheduler: Any, timestep: Any) -> int:
    """From `timestep` to the next that differs, beyond 0 from the last; for the second call of
    PLMS's first step that step, which is the one before."""
    laid_out = scheduler.timesteps.unique().flip(0).tolist()
    place = laid_out.index(int(timestep))
    if getattr(scheduler, "counter", 0) == 1:
        place = max(place - 1, 0)  # more steps than timesteps repeat the first
    return laid_out[place] - [*laid_out, -1][place + 1]
