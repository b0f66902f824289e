"""Each scheduler against the exact solution for normally distributed data, where it is known: the
noise that a network would have to find, and where the picture ends, are formulas."""

import inspect
from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler

from darkroom.schedulers import SchedulerOptions
from tests.tiny import BETAS
from worker.loading.schedulers import DISTILLED, Schedulers, options_of
from worker.loading.solvers import solver

OF_LATENTS = {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}
BETAS_OF = {
    "sd": BETAS | OF_LATENTS,  # Stable Diffusion 1.5, SDXL
    "emoji": BETAS | OF_LATENTS | {"beta_end": 0.02},
}
NOISY = {
    "DDPMScheduler",
    "EulerAncestralDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "LCMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
}
# They look up timesteps one by one, or integrate their weights on the host.
SLOW = {"KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler"}
NAMES = (*Schedulers(DDIMScheduler(**BETAS_OF["sd"])).names, "SASolverScheduler")
SIGMAS = ("karras", "exponential", "beta")
SPACINGS = ("linspace", "leading", "trailing")

SHAPE = (1, 4, 8, 8)
DRAWN = torch.Generator().manual_seed(0)
MEAN = 0.7 * torch.randn(SHAPE, generator=DRAWN, dtype=torch.float64)
VARIANCE = 0.01 + 0.6 * torch.rand(SHAPE, generator=DRAWN, dtype=torch.float64)
NOISE = torch.randn(SHAPE, generator=DRAWN, dtype=torch.float64)
START = MEAN + VARIANCE**0.5 * torch.randn(SHAPE, generator=DRAWN, dtype=torch.float64)


def layouts(name: str, *, few: bool = False) -> Iterator[SchedulerOptions]:
    able = options_of(getattr(diffusers, name))
    for sigmas in (None, *(each for each in SIGMAS if each in able)):
        for spacing in SPACINGS[2 * few :] if "timestep_spacing" in able else (None,):
            yield SchedulerOptions(sigmas=sigmas, timestep_spacing=spacing)


def schedulers_with(name: str, betas: str) -> Schedulers:
    """Those of a latent diffusion model, the one by `name` among them."""
    schedulers = Schedulers(DDIMScheduler(**BETAS_OF[betas]))
    if name in schedulers.names:
        return schedulers
    return Schedulers(getattr(diffusers, name)(**BETAS | {"beta_end": BETAS_OF[betas]["beta_end"]}))


def kept_at(scheduler: Any, timestep: Any) -> torch.Tensor:
    """The share of the picture's variance that is left at a timestep, between two of training as
    well."""
    kept = scheduler.alphas_cumprod.double()
    low = min(int(timestep), len(kept) - 1)
    high, share = min(low + 1, len(kept) - 1), float(timestep) - low
    return torch.sigmoid(torch.lerp(torch.logit(kept[low]), torch.logit(kept[high]), share))


def predicted_noise(sample: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    variance = kept * VARIANCE + 1 - kept
    return (sample - kept**0.5 * MEAN) / variance * (1 - kept) ** 0.5


def distilled_noise(sample: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Of a network that was distilled without a fault: it leads to the path's end in one step."""
    return (sample - kept**0.5 * exact(sample, kept)) / (1 - kept) ** 0.5


def exact(sample: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Where the path ends that goes through `sample`."""
    return MEAN + VARIANCE**0.5 * (sample - kept**0.5 * MEAN) / (kept * VARIANCE + 1 - kept) ** 0.5


def begin(scheduler: Any, steps: int, strength: float | None) -> tuple[torch.Tensor, ...]:
    """Timesteps and first sample, as the pipelines come by them, and where its path ends."""
    scheduler.set_timesteps(steps)
    if strength is None:
        wanted = exact(NOISE, kept_at(scheduler, 999))
        return scheduler.timesteps, NOISE * scheduler.init_noise_sigma, wanted
    skipped = (steps - int(steps * strength)) * scheduler.order
    timesteps = scheduler.timesteps[skipped:]
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    sample = scheduler.add_noise(START, NOISE, timesteps[:1])
    parts = torch.stack([START.flatten(), NOISE.flatten()], dim=1)
    picture, noise = torch.linalg.lstsq(parts, sample.reshape(-1, 1)).solution.flatten()
    kept = picture**2 / (picture**2 + noise**2)
    return timesteps, sample, exact(sample * kept**0.5 / picture, kept)


def solve(scheduler: Any, steps: int, strength: float | None = None) -> tuple[torch.Tensor, ...]:
    """What the scheduler makes, and what it should have made."""
    timesteps, sample, wanted = begin(scheduler, steps, strength)
    more = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        more["generator"] = torch.Generator().manual_seed(1)
    network = distilled_noise if type(scheduler).__name__ == "LCMScheduler" else predicted_noise
    for timestep in timesteps:
        scaled = scheduler.scale_model_input(sample, timestep).double()
        noise = network(scaled, kept_at(scheduler, timestep)).to(sample.dtype)
        sample = scheduler.step(noise, timestep, sample, return_dict=False, **more)[0]
    return sample, wanted


def assert_solved(name: str, made: torch.Tensor, wanted: torch.Tensor) -> None:
    """Standard deviations of the data are 0.1 to 0.8, errors of Euler's 25 steps below 0.1."""
    if name in NOISY:  # another sample of the same distribution
        spread = ((made - MEAN) / VARIANCE**0.5).std()
        assert 0.7 < spread < 1.3, f"spread {spread:.2f}"
    else:
        off = (made - wanted).square().mean().sqrt()
        assert off < 0.1, f"off by {off:.2f}"


@pytest.mark.parametrize("name", NAMES)
def test_schedulers_reach_the_exact_solution_however_they_lay_out_their_steps(name: str) -> None:
    schedulers = schedulers_with(name, "sd")
    for options in layouts(name, few=name in SLOW):
        for strength in (None, 0.1, 0.5):
            made, wanted = solve(schedulers.new(name, options), 25, strength)
            assert_solved(name, made, wanted)


@pytest.mark.long
@pytest.mark.parametrize("betas", BETAS_OF)
@pytest.mark.parametrize("name", NAMES)
def test_many_steps_make_it_no_worse(name: str, betas: str) -> None:
    schedulers = schedulers_with(name, betas)
    for options in layouts(name):
        for steps in (40, 50) if name in DISTILLED else (40, 50, 63, 150):
            for strength in (None, 0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 0.97, 1.0):
                if int(steps * (strength or 1)):
                    made, wanted = solve(schedulers.new(name, options), steps, strength)
                    assert_solved(name, made, wanted)


@pytest.mark.parametrize("steps", [2, 40, 150, 999, 1000])
@pytest.mark.parametrize("sigmas", SIGMAS)
@pytest.mark.parametrize("betas", BETAS_OF)
def test_no_two_steps_have_the_same_timestep(betas: str, sigmas: Any, steps: int) -> None:
    options = SchedulerOptions(sigmas=sigmas)
    for name in ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"):
        scheduler = Schedulers(DDIMScheduler(**BETAS_OF[betas])).new(name, options)
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.shape == (steps,)
        assert (scheduler.timesteps.diff() < 0).all()
        scheduler.step(NOISE, scheduler.timesteps[0], NOISE)
        assert scheduler.step_index == 1


def test_beta_sigmas_stand_at_timesteps_by_a_beta_distribution() -> None:
    """The values of ComfyUI's "beta" scheduler on Stable Diffusion 1.5, but for its rounding."""
    options = SchedulerOptions(sigmas="beta", timestep_spacing="linspace")
    euler = Schedulers(DDIMScheduler(**BETAS_OF["sd"])).new("EulerDiscreteScheduler", options)
    euler.set_timesteps(5)
    assert euler.timesteps.tolist() == pytest.approx([999, 823.5, 499.5, 175.5, 0], abs=0.6)


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_each_step_ends_where_the_next_begins(name: str, spacing: Any) -> None:
    """150 steps of training's 1000 are 6 or 7 long, never 6 all the way."""
    options = SchedulerOptions(timestep_spacing=spacing)
    made, wanted = solve(schedulers_with(name, "emoji").new(name, options), 150)
    assert (made - wanted).square().mean().sqrt() < 0.02


@pytest.mark.parametrize(("steps", "strength"), [(2, 0.5), (25, 0.97), (25, 0.9), (25, 0.1)])
def test_plms_begins_in_the_middle_with_the_noise_of_the_first_step_it_makes(
    steps: int, strength: float
) -> None:
    plms, ddim = (
        schedulers_with(name, "sd").new(name) for name in ("PNDMScheduler", "DDIMScheduler")
    )
    starts = [begin(each, steps, strength)[1] for each in (plms, ddim)]
    assert torch.equal(*starts)
    made, wanted = solve(plms, steps, strength)
    by_euler, _ = solve(ddim, steps, strength)
    assert (made - wanted).abs().mean() < 1.1 * (by_euler - wanted).abs().mean()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("begin_at", [999, 499])
def test_one_step_of_a_consistency_model_is_the_exact_solution(
    prediction: str, begin_at: int
) -> None:
    own = DDIMScheduler(**BETAS_OF["sd"], prediction_type=prediction)
    lcm = Schedulers(own).new("LCMScheduler")
    lcm.set_timesteps(timesteps=[begin_at])
    kept = kept_at(lcm, begin_at)
    noise = distilled_noise(NOISE, kept)
    picture = (NOISE - (1 - kept) ** 0.5 * noise) / kept**0.5
    answer = noise if prediction == "epsilon" else kept**0.5 * noise - (1 - kept) ** 0.5 * picture
    made = lcm.step(answer, lcm.timesteps[0], NOISE).prev_sample
    assert (made - exact(NOISE, kept)).abs().max() < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_few_steps_of_a_consistency_model_draw_from_the_data(steps: int) -> None:
    made, _ = solve(schedulers_with("LCMScheduler", "sd").new("LCMScheduler"), steps)
    assert_solved("LCMScheduler", made, made)
    assert abs(((made - MEAN) / VARIANCE**0.5).mean()) < 3 / made.numel() ** 0.5


def test_tcd_that_draws_no_noise_is_ddim() -> None:
    ddim, tcd = (
        schedulers_with(name, "sd").new(name, options)
        for name, options in (
            ("DDIMScheduler", SchedulerOptions(timestep_spacing="trailing")),
            ("TCDScheduler", None),
        )
    )
    made = []
    for scheduler, more in ((ddim, {}), (tcd, {"eta": 0.0})):
        scheduler.set_timesteps(25)
        sample = NOISE
        for timestep in scheduler.timesteps:
            noise = predicted_noise(sample, kept_at(scheduler, timestep))
            sample = scheduler.step(noise, timestep, sample, **more).prev_sample
        made.append(sample)
    assert torch.equal(ddim.timesteps, tcd.timesteps)
    assert (made[0] - made[1]).abs().max() < 1e-5


@pytest.mark.parametrize("name", sorted(DISTILLED))
def test_a_few_of_the_steps_that_were_distilled(name: str) -> None:
    """50 of them as LCM and TCD had it; four, all of which are made, as DMD2's model page says."""
    schedulers = schedulers_with(name, "sd")
    usual, few = (
        schedulers.new(name),
        schedulers.new(name, SchedulerOptions(original_inference_steps=4)),
    )
    for scheduler in (usual, few):
        scheduler.set_timesteps(4)
    assert usual.timesteps.tolist() == [999, 759, 499, 259]
    assert few.timesteps.tolist() == [999, 749, 499, 249]


def test_what_is_called_like_diffusers_class_is_one() -> None:
    for name in NAMES:
        assert issubclass(solver(name), getattr(diffusers, name))
        assert solver(name).__name__ == name


def test_pndm_can_make_more_steps_than_there_are_timesteps() -> None:
    scheduler = schedulers_with("PNDMScheduler", "sd").new("PNDMScheduler")
    scheduler.set_timesteps(2_500)
    sample = START
    for timestep in scheduler.timesteps[:5]:
        sample = scheduler.step(sample, timestep, sample).prev_sample
    assert sample.isfinite().all()


@pytest.mark.parametrize("name", ["KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler"])
def test_what_is_slow_to_lay_out_is_laid_out_when_it_is_asked_for(name: str) -> None:
    ours, theirs = solver(name)(), getattr(diffusers, name)()
    assert len(ours.timesteps) < 10 < len(theirs.timesteps)
    for each in (ours, theirs):
        each.set_timesteps(7)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert torch.equal(ours.sigmas, theirs.sigmas)
    assert ours.init_noise_sigma == theirs.init_noise_sigma
