import random

import pytest

from tests.chaos.soak import LIMIT_MB_PER_H, slope

HOUR = [(second, 100.0) for second in range(0, 3600, 2)]


def noisy(per_h: float) -> list[tuple[float, float]]:
    rng = random.Random(1)
    return [(at, mb + per_h * at / 3600 + rng.gauss(0, 0.5)) for at, mb in HOUR]


def test_a_slope_is_told_with_what_it_may_be() -> None:
    grown = slope(noisy(10.0))
    assert grown.low < 10 < grown.high
    assert grown.per_h == pytest.approx(10, abs=0.5)
    assert grown.grows


def test_what_wavers_does_not_grow() -> None:
    still = slope(noisy(0.0))
    assert still.low < 0 < still.high
    assert still.low < LIMIT_MB_PER_H
    assert not still.grows


def test_a_few_samples_tell_little() -> None:
    few = slope([(0, 100), (2, 101), (4, 100)])
    assert few.high - few.low > 100
