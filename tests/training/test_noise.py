"""Latents are noised as diffusers' scheduler does it, and errors weigh most where noise is most."""

import pytest
import torch
from diffusers import DDIMScheduler

from training.noise import Noised, add_noise, weight_of


@pytest.fixture
def scheduler() -> DDIMScheduler:
    return DDIMScheduler()


@pytest.fixture
def latents() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(64, 4, 8, 8)


@pytest.fixture
def noised(scheduler: DDIMScheduler, latents: torch.Tensor) -> Noised:
    return add_noise(latents, scheduler.alphas_cumprod)


def test_it_is_what_the_scheduler_does(scheduler, latents, noised):
    expected = scheduler.add_noise(latents, noised.noise, noised.timesteps)
    torch.testing.assert_close(noised.latents, expected)
    assert noised.timesteps.unique().numel() > 32  # a timestep for each
    assert noised.timesteps.min() < 100
    assert noised.timesteps.max() > 900


def test_the_right_velocity_leads_back_to_the_latents(scheduler, latents, noised):
    velocity = scheduler.get_velocity(latents, noised.noise, noised.timesteps)
    torch.testing.assert_close(noised.clean(velocity), latents, atol=1e-4, rtol=1e-4)


def test_the_right_noise_costs_nothing_and_errors_count_by_their_timestep(noised):
    assert [loss.item() for loss in noised.losses(noised.noise)] == [0.0, 0.0]
    wrong = [noised.noise.clone() for _ in range(2)]
    order = noised.timesteps.argsort()
    wrong[0][order[0]] += 1
    wrong[1][order[-1]] += 1
    (little, plain), (much, same) = map(noised.losses, wrong)
    torch.testing.assert_close(plain, torch.tensor(1 / 64))
    torch.testing.assert_close(same, plain)
    assert much > 20 * little


def test_weight_stays_finite_at_either_end():
    assert weight_of(torch.tensor([0.0])).item() == pytest.approx(10)
    assert weight_of(torch.tensor([1.0])).item() == 0
