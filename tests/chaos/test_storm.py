"""A small storm: each kind of fault once or twice, over a Darkroom at work; the long one is
`make chaos`."""

from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.spawn import Zygote
from tests.chaos.storm import Plan, run

WORKERS = (
    "engine paused at its finish",
    "engine killed",
    "died at a point",
    "worker drained",
    "engine paused",
    "supervisor killed",
    "device fault",
    "all engines killed",
    "engine crashed",
)
BESIDE = (
    "API killed",
    "reply lost",
    "Valkey killed",
    "link cut",
    "one key many times",
    "Valkey full",
    "disk full",
    "link silent",
    "clients hang up",
    "keeper killed",
    "Valkey's file torn",
    "model cut short",
    "stranger in the queue",
    "a queue's id twice",
)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("seed", "script"), [(3, WORKERS), (5, BESIDE)], ids=["workers", "all beside them"]
)
def test_nothing_is_lost_doubled_or_damaged(
    seed: int, script: tuple[str, ...], zygote: Zygote, chaos_models: Path, short_path: Path
) -> None:
    plan = Plan(seed, 0, workers=2, cold_workers=0, clients=4, script=script)
    folder = short_path / f"storm-{seed}"
    result = run(plan, zygote, chaos_models, folder)
    told = "\n".join(f"{breach.promise} {breach.what}" for breach in result.verdict.breaches)
    assert not told, f"seed {seed}:\n{told}\n{(folder / 'logs.txt').read_text()[-6000:]}"
    assert result.verdict.counts["succeeded"] > 0
    assert sum(result.verdict.faults.values()) >= len(script)


def test_scripts_name_faults_that_there_are() -> None:
    assert {*WORKERS, *BESIDE} <= FAULTS.keys()
