import json
import random
from dataclasses import asdict

import pytest

from tests.chaos.soak import LIMIT_MB_PER_H, Slope, Soak, slope, told

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


def test_what_stays_as_it_is_does_not_grow() -> None:
    assert slope([(at, 100.0) for at, _ in HOUR]) == Slope(0.0, 0.0, 0.0, 100.0, 100.0)


def test_what_a_run_wrote_is_told_again() -> None:
    levels = slope(noisy(2.0))
    samples = [(at, mb) for at, mb in noisy(2.0)[::15]]
    run = Soak(
        minutes=60.0,
        jobs=100,
        per_s=1.5,
        kills=3,
        slopes={"api": levels},
        valkey=levels,
        keys=(1, 2),
        breaches=[],
        samples={"api": samples, "Valkey's data": samples},
        notes=["It was warm."],
    )
    again = Soak.of(json.loads(json.dumps(asdict(run))))
    assert told(again) == told(run)
    lines = told(again).splitlines()
    assert lines[0].startswith("60 minutes, 100 jobs at 1.5 a second")
    assert f"| api | {levels.per_h:.2f} | {levels.low:.2f} to {levels.high:.2f} grows |" in lines[4]
    assert lines[-1] == "- It was warm."


def test_a_few_samples_tell_little() -> None:
    few = slope([(0, 100), (2, 101), (4, 100)])
    assert few.high - few.low > 100
