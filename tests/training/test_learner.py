"""A network learns as AdamW says, its averaged weights follow, and it goes on where it stopped."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training import run as runs
from training.learner import Learner
from training.run import Run, learning_rate

CONFIG = {
    "seed": 1,
    "steps": 6,
    "warmup_steps": 3,
    "decay": 0.5,
    "learning_rate": 0.1,
    "ema_decay": 0.9,
}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runs, "RUNS", tmp_path)


def make_learner(stage: str) -> Learner[nn.Linear]:
    torch.manual_seed(0)
    return Learner(
        Run(stage, CONFIG), "network", nn.Linear(2, 1), modules={"critic": nn.Linear(1, 1)}
    )


def learn(learner: Learner[nn.Linear], until: int) -> list[float]:
    """Returns the learning rates of the steps made."""
    rates = []
    for step in learner.steps():
        rates.append(learner.optimizer.param_groups[0]["lr"])
        learner.learn(learner.network(torch.ones(1, 2)).square().sum() * 100)
        if step + 1 == until:
            break
    learner.save()
    return rates


def test_it_goes_on_as_if_nothing_had_been() -> None:
    whole = make_learner("whole")
    rates = learn(whole, 6)
    assert rates == [learning_rate(step, step / 6, CONFIG) for step in range(6)]
    first = make_learner("halves")
    assert learn(first, 4) == rates[:4]
    second = make_learner("halves")
    assert (second.start, second.done) == (4, 4)
    assert learn(second, 6) == rates[4:]
    assert second.done == 6
    for name in ("network", "average"):
        parts = (getattr(each, name).state_dict() for each in (second, whole))
        torch.testing.assert_close(*parts, rtol=0, atol=0)


def test_averaged_weights_follow_the_newest() -> None:
    learner = make_learner("stage")
    before = learner.network.weight.detach().clone()
    next(learner.steps())
    learner.learn(learner.network(torch.ones(1, 2)).square().sum())
    moved = learner.network.weight - before
    assert moved.abs().min() > 0
    # After one step the average is nearly the newest: 1/21 of the old weights is left in it.
    torch.testing.assert_close(learner.average.weight, before + moved * 20 / 21)
    assert not learner.average.weight.requires_grad


def test_gradients_are_clipped() -> None:
    learner = make_learner("stage")
    next(learner.steps())
    learner.learn(learner.network(torch.ones(1, 2)).sum() * 1e4)
    norm = torch.stack([each.grad.norm() for each in learner.network.parameters()]).norm()
    torch.testing.assert_close(norm, torch.tensor(1.0))


def test_draws_are_others_after_a_resume() -> None:
    first = make_learner("stage")
    drawn = first.seed().random(), torch.rand(1).item()
    assert (first.seed().random(), torch.rand(1).item()) == drawn
    learn(first, 2)
    again = make_learner("stage")
    assert again.sample_path.name == "000002.png"
    resumed = again.seed().random(), torch.rand(1).item()
    assert resumed[0] != drawn[0]
    assert resumed[1] != drawn[1]
