"""What the choice of who runs next promises, on recorded costs; a simulation: always the same."""

import json

import pytest

from benchmarks.scheduling import compare
from benchmarks.scheduling_jobs import COSTS, Model
from benchmarks.scheduling_policies import FIRST, OURS, STATIC, TODAY


@pytest.mark.parametrize("load", [0.8, 1.2, 2.0])
@pytest.mark.parametrize("name", list(json.loads(COSTS.read_text())))
def test_short_jobs_gain_much_and_nothing_is_lost(name: str, load: float) -> None:
    model = Model.read(name)
    found = compare(model, load, (TODAY, FIRST, STATIC, OURS), jobs=400, seeds=2)
    ours, today = found[OURS.name], found[TODAY.name]
    assert len(ours.jobs) == 2 * 400
    assert ours.mean_s <= found[FIRST.name].mean_s
    assert ours.jobs_per_s >= 0.97 * today.jobs_per_s
    if load > 1:
        assert ours.mean_s <= 0.75 * today.mean_s
    if load == 1.2:
        assert ours.short_s <= 0.2 * found[STATIC.name].short_s
