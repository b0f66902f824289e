"""Each solver of rectified flows against the exact solution for normally distributed data."""

import inspect
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from darkroom.errors import UnsupportedError
from darkroom.schedulers import SchedulerOptions
from worker.loading.flows import EULER, HEUN, MULTISTEP, SOLVERS
from worker.loading.schedulers import Schedulers

LCM = "FlowMatchLCMScheduler"
SHAPE = (1, 4, 8, 8)
DRAWN = torch.Generator().manual_seed(0)
MEAN = 0.7 * torch.randn(SHAPE, generator=DRAWN, dtype=torch.float64)
VARIANCE = 0.01 + 0.6 * torch.rand(SHAPE, generator=DRAWN, dtype=torch.float64)
NOISE = torch.randn(SHAPE, generator=DRAWN, dtype=torch.float64)
START = MEAN + VARIANCE**0.5 * torch.randn(SHAPE, generator=DRAWN, dtype=torch.float64)

PLAIN = FlowMatchEulerDiscreteScheduler(shift=3.0)  # Stable Diffusion 3
SHIFTING = FlowMatchEulerDiscreteScheduler(  # Flux
    shift=3.0, use_dynamic_shifting=True, base_shift=0.4, max_image_seq_len=3000
)


def variance(sigma: torch.Tensor) -> torch.Tensor:
    """Of samples at a noise level."""
    return (1 - sigma) ** 2 * VARIANCE + sigma**2


def velocity(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The mean of noise less picture, given the sample."""
    off = (sample - (1 - sigma) * MEAN) / variance(sigma)
    return sigma * off - (MEAN + (1 - sigma) * VARIANCE * off)


def exact(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Where the path ends that goes through `sample`."""
    return MEAN + VARIANCE**0.5 * (sample - (1 - sigma) * MEAN) / variance(sigma) ** 0.5


def distilled(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """What leads there in one step."""
    return (sample - exact(sample, sigma)) / sigma


def solve(scheduler: Any, sample: torch.Tensor, network: Any = velocity) -> torch.Tensor:
    begin = scheduler.begin_index or 0
    more = {}
    if type(scheduler).__name__ == LCM:
        more["generator"] = torch.Generator().manual_seed(1)
    for timestep in scheduler.timesteps[begin:]:
        answer = network(sample, timestep.double() / 1000)
        sample = scheduler.step(answer, timestep, sample, return_dict=False, **more)[0]
    return sample


def error(name: str, steps: int, sigmas: str | None = None) -> float:
    options = SchedulerOptions(sigmas=sigmas)
    scheduler: Any = Schedulers(PLAIN).new(name, options)
    scheduler.set_timesteps(steps)
    made = solve(scheduler, NOISE)
    return float((made - exact(NOISE, torch.tensor(1.0))).square().mean().sqrt())


def test_a_flow_is_offered_what_can_follow_it() -> None:
    assert set(Schedulers(PLAIN).names) == set(Schedulers(SHIFTING).names) == SOLVERS
    inverted = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    assert Schedulers(inverted).names == (EULER,)


@pytest.mark.parametrize("name", sorted(SOLVERS - {LCM}))
def test_solvers_come_nearer_with_every_step_as_their_order_says(name: str) -> None:
    few, more, many = (error(name, steps) for steps in (10, 20, 40))
    least = 1.7 if name == EULER else 2.8
    assert few > least * more > least**2 * many
    assert many < (0.04 if name == EULER else 0.008)


@pytest.mark.parametrize("name", sorted(SOLVERS - {LCM, HEUN}))
@pytest.mark.parametrize("sigmas", ["karras", "exponential", "beta"])
def test_solvers_reach_the_end_however_the_levels_are_laid_out(name: str, sigmas: str) -> None:
    assert error(name, 40, sigmas) < 0.05


@pytest.mark.parametrize("own", [PLAIN, SHIFTING], ids=["plain", "shifting"])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_levels_are_those_of_the_model_s_own_scheduler(name: str, own: Any) -> None:
    schedulers = Schedulers(own)
    asked: dict[str, Any] = {"sigmas": [1.0, 0.8, 0.5, 0.2]}
    if own is SHIFTING:
        asked["mu"] = 0.9
    usual, other = schedulers.new(EULER), schedulers.new(name)
    for scheduler in (usual, other):
        scheduler.set_timesteps(**asked)
    assert torch.equal(other.timesteps.unique(), usual.timesteps.unique())
    assert other.sigmas[-1] == 0
    for key in ("use_dynamic_shifting", "base_shift", "max_image_seq_len", "shift"):
        assert other.config[key] == own.config[key], "pipelines read it"


@pytest.mark.parametrize("name", sorted(SOLVERS - {LCM, HEUN}))
def test_from_a_picture_on_they_begin_with_its_noise(name: str) -> None:
    scheduler: Any = Schedulers(PLAIN).new(name)
    scheduler.set_timesteps(40)
    scheduler.set_begin_index(20)
    sigma = scheduler.timesteps[20].double() / 1000
    sample = scheduler.scale_noise(START, scheduler.timesteps[20:21], NOISE)
    assert (sample - (sigma * NOISE + (1 - sigma) * START)).abs().max() < 1e-6
    made = solve(scheduler, sample)
    assert (made - exact(sample, sigma)).square().mean().sqrt() < (0.04 if name == EULER else 0.01)


@pytest.mark.parametrize("name", [HEUN, *sorted(MULTISTEP)])
def test_noise_of_an_inpainted_picture_is_that_of_the_next_step(name: str) -> None:
    scheduler: Any = Schedulers(PLAIN).new(name)
    scheduler.set_timesteps(4)
    scheduler.set_begin_index(0)
    sample = NOISE
    for timestep in scheduler.timesteps[:2]:
        sample = scheduler.step(velocity(sample, timestep / 1000), timestep, sample).prev_sample
    at = scheduler.timesteps[1 if name == HEUN else 2].double() / 1000
    noisy = scheduler.scale_noise(START, scheduler.timesteps[2:3], NOISE)
    assert (noisy - (at * NOISE + (1 - at) * START)).abs().max() < 1e-6


def test_heun_that_would_begin_in_the_midst_of_a_step_is_unsupported() -> None:
    scheduler: Any = Schedulers(PLAIN).new(HEUN)
    scheduler.set_timesteps(4)
    scheduler.set_begin_index(0)
    with pytest.raises(UnsupportedError, match="begins with noise alone"):
        scheduler.set_begin_index(2)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_few_steps_of_a_distilled_flow_draw_from_the_data(steps: int) -> None:
    scheduler: Any = Schedulers(PLAIN).new(LCM)
    scheduler.set_timesteps(steps)
    made = (solve(scheduler, NOISE, distilled) - MEAN) / VARIANCE**0.5
    assert abs(made.mean()) < 3 / made.numel() ** 0.5
    assert 0.85 < made.std() < 1.15
    if steps == 1:
        assert (made - (exact(NOISE, torch.tensor(1.0)) - MEAN) / VARIANCE**0.5).abs().max() < 1e-5


def test_pipelines_find_all_arguments_that_they_pass() -> None:
    for name in SOLVERS:
        known = inspect.signature(Schedulers(PLAIN).new(name).set_timesteps).parameters
        assert {"num_inference_steps", "device", "sigmas", "mu", "timesteps"} <= set(known)
