"""A run stops and goes on as if nothing had been."""

import pytest
import torch
from torch import nn

from training import run as runs
from training.run import Run, learning_rate, read_config, read_settings, stage_parser


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "RUNS", tmp_path)


def train(run: Run, steps: int) -> tuple[int, nn.Linear]:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    start = run.resume({"model": model}, {"optimizer": optimizer})
    for _ in range(start, steps):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
    run.save(steps, {"model": model}, {"optimizer": optimizer})
    return start, model


def test_resumed_equals_uninterrupted():
    _, whole = train(Run("whole", {}), 6)
    assert train(Run("halves", {}), 3)[0] == 0
    start, halves = train(Run("halves", {}), 6)
    assert start == 3
    torch.testing.assert_close(halves.weight, whole.weight, rtol=0, atol=0)


def test_state_of_other_modules_is_refused():
    train(Run("stage", {}), 1)
    with pytest.raises(ValueError, match="has no average"):
        Run("stage", {}).resume({"average": nn.Linear(2, 1)}, {})


def test_learning_rate_rises_holds_and_falls():
    config = {"steps": 100, "warmup_steps": 10, "decay": 0.5, "learning_rate": 1.0}
    rates = [learning_rate(step, step / 100, config) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[10:51]) == {1.0}
    assert rates[75] == pytest.approx(0.5)
    assert rates[100] == 0


def test_command_line_overrides_the_settings():
    parser = stage_parser("A stage")
    assert read_settings("vq", parser.parse_args([])) == read_config("vq")
    said = read_settings("vq", parser.parse_args(["--steps", "7", "--begin-from", "there"]))
    assert said == read_config("vq") | {"steps": 7, "begin_from": "there"}


def test_losses_are_written_down(tmp_path):
    run = Run("stage", {})
    for step in range(1, 5):
        run.log(step, {"loss": 1.0}, every=2)
    lines = (tmp_path / "stage" / "losses.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert '"step": 2' in lines[0]
