"""Solvers for rectified flows: each asks the network at the noise levels that the model's own
scheduler lays out; worker only, knows no models and no jobs.

diffusers' own solvers lay out levels of theirs, leave out the shift that depends on the picture's
size, and round timesteps. Pipelines of flows tell levels and shift, and scale noise, in ways that
only FlowMatchEulerDiscreteScheduler and its like understand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from darkroom.errors import UnsupportedError
from worker.loading.solvers import solver

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

EULER = "FlowMatchEulerDiscreteScheduler"
HEUN = "FlowMatchHeunDiscreteScheduler"
MULTISTEP = frozenset({"DPMSolverMultistepScheduler", "UniPCMultistepScheduler"})
SOLVERS = frozenset({EULER, HEUN, "FlowMatchLCMScheduler", *MULTISTEP})
"""They can follow a rectified flow."""

FORMULAS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")

HIGHEST = 1 - 1e-6
"""The noise level at which solvers of several steps begin, in place of 1: there they would take the
logarithm of no picture at all. diffusers' UniPC does the same."""


def flow_solver(name: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """One of `SOLVERS` for a model whose FlowMatchEulerDiscreteScheduler has `config`.

    Raises ValueError where that does not lead from noise to the picture."""
    own = solver(EULER).from_config(dict(config))
    if name == EULER:
        return own
    if own.config.invert_sigmas:
        raise ValueError(f"{name} does not follow inverted sigmas")
    if name not in MULTISTEP | {HEUN}:
        return solver(name).from_config(dict(config))
    made: Any = _class(name)(**{"prediction_type": "flow_prediction"} if name != HEUN else {})
    # Pipelines read there how to shift levels by the picture's size.
    made.register_to_config(**{k: v for k, v in own.config.items() if not k.startswith("_")})
    made.own = own
    made.lays_out_evenly = name in MULTISTEP and not any(own.config[each] for each in FORMULAS)
    return made


@functools.cache
def _class(name: str) -> Any:
    base: Any = solver(name)
    parts = {"set_timesteps": _set_timesteps, "scale_noise": _scale_noise}
    if name == HEUN:
        parts |= {"lay_out": _lay_out_twice, "set_begin_index": _begin_with_noise(base)}
    else:
        parts |= {"lay_out": _lay_out, "_sigma_to_alpha_sigma_t": _shares}
    return type(name, (base,), {"__module__": base.__module__, **parts})


def _set_timesteps(
    self: Any,
    num_inference_steps: int | None = None,
    device: str | torch.device | None = None,
    sigmas: list[float] | None = None,
    mu: float | None = None,
    timesteps: list[float] | None = None,
) -> None:
    """Left to itself the model's own scheduler ends with a level next to none, far below the last
    but one. Euler does not mind, but solvers that look back miss the end by more than it: they get
    even levels before the shift, as most pipelines ask for and diffusers gives them."""
    if num_inference_steps and sigmas is None and timesteps is None and self.lays_out_evenly:
        sigmas = torch.linspace(1, 1 / num_inference_steps, num_inference_steps).tolist()
    self.own.set_timesteps(
        num_inference_steps, device=device, sigmas=sigmas, mu=mu, timesteps=timesteps
    )
    self.lay_out(self.own.sigmas.cpu(), self.own.timesteps)
    self.num_inference_steps = len(self.own.timesteps)
    # All that solvers remember of steps before, each some of it.
    self.model_outputs = [None] * self.config.get("solver_order", 0)
    self.timestep_list = list(self.model_outputs)
    self.lower_order_nums = 0
    self.last_sample = self.prev_derivative = self.dt = None
    self._step_index = self._begin_index = None


def _lay_out(self: Any, sigmas: torch.Tensor, timesteps: torch.Tensor) -> None:
    self.sigmas, self.timesteps = sigmas.clamp(max=HIGHEST), timesteps


def _lay_out_twice(self: Any, sigmas: torch.Tensor, timesteps: torch.Tensor) -> None:
    """Heun's method asks twice at each level but the first: as a step ends and the next begins."""
    self.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
    self.timesteps = torch.cat([timesteps[:1], timesteps[1:].repeat_interleave(2)])


def _shares(_: Any, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the picture and of noise in a sample of a rectified flow (arXiv 2209.03003)."""
    return 1 - sigma, sigma


def _scale_noise(
    self: Any, sample: torch.Tensor, timestep: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """`sample`, latents of a picture, with the noise of the level where the next step begins."""
    index = self.begin_index if self.step_index is None else self.step_index
    if index is None:
        index = self.index_for_timestep(timestep.flatten()[0])
    kept, added = _shares(self, self.sigmas[index].to(sample.device, sample.dtype))
    return kept * sample + added * noise


def _begin_with_noise(base: Any) -> Callable[[Any, int], None]:
    def set_begin_index(self: Any, begin_index: int = 0) -> None:
        """Most pipelines that begin with a picture take Heun's calls for steps, and would begin
        elsewhere than was asked, or in the midst of a step."""
        if begin_index:
            raise UnsupportedError("Flow match Heun begins with noise alone, at strength 1.")
        base.set_begin_index(self, begin_index)

    return set_begin_index
