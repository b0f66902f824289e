from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler

from tests.tiny import BETAS
from worker.schedulers import UNSUITABLE, Schedulers, counted

USUAL = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]


def test_a_latent_diffusion_model_works_with_the_usual_schedulers() -> None:
    schedulers = Schedulers(PNDMScheduler(**BETAS))
    assert set(USUAL) <= set(schedulers.names)
    assert not UNSUITABLE & set(schedulers.names)
    assert schedulers.own == "PNDMScheduler"


def test_rectified_flow_keeps_to_its_own_scheduler() -> None:
    assert Schedulers(FlowMatchEulerDiscreteScheduler()).names == (
        "FlowMatchEulerDiscreteScheduler",
    )


@pytest.mark.parametrize("name", USUAL)
def test_two_jobs_never_share_a_scheduler(name: str) -> None:
    schedulers = Schedulers(EulerDiscreteScheduler(**BETAS))
    one, other = schedulers.new(name), schedulers.new(name)
    other.set_timesteps(7)
    expected = other.timesteps.clone()
    one.set_timesteps(3)
    sample = torch.ones(1, 4, 2, 2)
    for timestep in one.timesteps:
        one.step(sample, timestep, sample)
    assert torch.equal(other.timesteps, expected)
    assert getattr(other, "step_index", None) is None
    fresh = schedulers.new(name)
    assert getattr(fresh, "step_index", None) is None
    assert not any(each is not None for each in getattr(fresh, "model_outputs", []))


@pytest.mark.parametrize("name", USUAL)
def test_the_model_s_noise_schedule_is_taken_over(name: str) -> None:
    config = Schedulers(PNDMScheduler(**BETAS)).new(name).config
    assert {key: config[key] for key in BETAS} == BETAS


def test_latents_are_never_clipped_by_a_default_meant_for_pixels() -> None:
    schedulers = Schedulers(EulerDiscreteScheduler(**BETAS))
    assert schedulers.new("DDIMScheduler").config.clip_sample is False
    assert schedulers.new("PNDMScheduler").config.skip_prk_steps is True


@pytest.mark.parametrize(
    ("name", "told_after_calls"),
    [("DDIMScheduler", [1, 2, 3, 4]), ("HeunDiscreteScheduler", [2, 4, 6, 7])],
)
def test_steps_are_counted_on_the_scale_of_the_request(
    name: str, told_after_calls: list[int]
) -> None:
    scheduler = Schedulers(PNDMScheduler(**BETAS)).new(name)
    pipeline = SimpleNamespace(scheduler=scheduler)
    told, calls = [], 0
    with counted(pipeline, 4, lambda step, steps: told.append((step, steps, calls))):
        scheduler.set_timesteps(4)
        sample = torch.ones(1, 4, 2, 2)
        for timestep in scheduler.timesteps:
            calls += 1
            scheduler.step(sample, timestep, sample)
    assert told == [(step, 4, after) for step, after in enumerate(told_after_calls, 1)]
    assert "step" not in vars(scheduler)


def test_the_sde_solver_is_not_on_offer_since_its_noise_cannot_be_repeated(tmp_path: Path) -> None:
    own = EulerDiscreteScheduler(**BETAS)
    own.save_pretrained(tmp_path)
    names = Schedulers(EulerDiscreteScheduler.from_pretrained(tmp_path)).names
    assert "DPMSolverSDEScheduler" not in names
    assert "EDMEulerScheduler" not in names
