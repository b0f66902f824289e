"""What the table of schedulers says is still so: some of it is measured again."""

from itertools import product

import pytest

from benchmarks.schedulers import Bench, Case, distances, measure_still
from darkroom.scheduler_table import (
    FAR,
    NOISE,
    STEPS,
    STRENGTHS,
    Layout,
    distance,
    layouts,
    still,
    table,
)

DIFFERENCE = 3
"""Levels of 255 by which another processor may differ."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


@pytest.mark.long
def test_some_of_the_table_is_measured_again(bench: Bench) -> None:
    cases = [
        Case(Layout("DPMSolverMultistepScheduler", "beta", "trailing"), 10, None),
        Case(Layout("DPMSolverSinglestepScheduler", "beta", None), 10, None),
        Case(Layout("DDIMScheduler", None, "leading"), 1, None),
        Case(Layout("HeunDiscreteScheduler", None, "trailing"), 3, None),
        Case(Layout("UniPCMultistepScheduler", "beta", "linspace"), 25, None),
        Case(Layout("LMSDiscreteScheduler", "exponential", "trailing"), 25, 0.1),
        Case(Layout("PNDMScheduler", None, "trailing"), 3, 0.5),
        Case(Layout("DEISMultistepScheduler", "beta", "leading"), 150, 0.02),
    ]
    for case, far in distances(bench, cases).items():
        listed = distance(case.layout, case.steps, case.strength)
        assert abs(far - listed) <= DIFFERENCE, case.name
    assert set(bench.layouts()) == set(layouts())


@pytest.mark.long
def test_steps_on_a_picture_begin_at_as_much_noise_as_is_told(bench: Bench) -> None:
    some = list(layouts())[::3]
    assert measure_still(bench, some) == {layout.name: still()[layout.name] for layout in some}


def test_such_steps_leave_a_picture_nearly_as_it_is_and_others_do_not(bench: Bench) -> None:
    both = [Case(Layout("DDIMScheduler", None, each), 2, 0.5) for each in ("leading", "trailing")]
    karras = Case(Layout("DPMSolverMultistepScheduler", "karras", "trailing"), 25, 0.05)
    changes = bench.changes([*both, karras])
    assert max(changes[both[0]], changes[karras]) < 6
    assert changes[both[1]] > 20


@pytest.mark.long
def test_more_of_the_table_is_measured_again(bench: Bench) -> None:
    every = [
        Case(*each)
        for each in product(layouts(), STEPS, STRENGTHS)
        if Case(*each).made and each[1] <= 25
    ]
    for case, far in distances(bench, every[::60]).items():
        listed = distance(case.layout, case.steps, case.strength)
        assert abs(far - listed) <= DIFFERENCE, case.name


def test_limits_lie_between_good_and_bad() -> None:
    """Euler's five steps are good; noise is no picture."""
    euler = Layout("EulerDiscreteScheduler", None, "trailing")
    assert max(row[0] or 0 for row in table()[euler.name][STEPS.index(5) :]) < FAR - 5
    assert distance(Layout("DDIMScheduler", None, "leading"), 1, None) > NOISE + 20
