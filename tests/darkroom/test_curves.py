import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.curves import UNSURE, Cost, Curve, curve, stated_s


def cost(rows: int, seconds: float, module: str = "unet", side: int = 512, **more) -> Cost:
    known = {"dtype": "float32", "passes": 50, **more}
    return Cost(module=module, width=side, height=side, rows=rows, seconds=seconds, **known)


def test_what_was_measured_is_told_and_what_lies_between_follows_from_it():
    known = curve([cost(2, 0.2), cost(4, 0.3)], "unet", (512, 512), "float32")
    assert known.seconds(2) == 0.2
    assert known.seconds(3) == pytest.approx(0.25)
    assert 0 < known.seconds(1) < 0.2
    assert 0.3 < known.seconds(8) < 0.6
    assert known.seconds(4) == 0.3


def test_another_size_follows_from_the_nearest_and_another_dtype_does_not():
    costs = [cost(2, 0.2), cost(2, 9.0, side=64), cost(2, 0.01, dtype="bfloat16")]
    larger = curve(costs, "unet", (1024, 1024), "float32").seconds(2)
    assert 0.4 < larger < 0.8
    assert curve(costs, "unet", (512, 512), "float16").seconds(2) == stated_s(512 * 512, 2)
    assert curve(costs, "unet", (512, 512)).seconds(2) == 0.01


def test_sides_that_were_measured_count_before_others_of_as_many_pixels():
    wide = cost(1, 0.4).model_copy(update={"width": 1024, "height": 256})
    for costs in ([wide, cost(1, 0.2)], [cost(1, 0.2), wide]):
        assert curve(costs, "unet", (512, 512)).seconds(1) == 0.2
        assert curve(costs, "unet", (1024, 256)).seconds(1) == 0.4


def test_pictures_that_are_seen_beside_count_as_pixels_until_they_were_measured():
    costs = [cost(1, 0.1), cost(1, 0.3, beside=1)]
    assert curve(costs, "unet", (512, 512)).seconds(1) == 0.1
    assert curve(costs, "unet", (512, 512), beside=1).seconds(1) == 0.3
    assert curve(costs, "unet", (1024, 512)).seconds(1) == 0.3
    assert 0.3 < curve(costs, "unet", (512, 512), beside=3).seconds(1) < 0.7


def test_the_first_passes_may_be_slow_and_one_that_is_counts_little_later():
    known = cost(2, 5.0, passes=1)  # compiled, or looked for its kernels
    for _ in range(UNSURE):
        known = known.seen(0.2)
    assert known.seconds == pytest.approx(0.2)
    for _ in range(50):
        known = known.seen(0.2)
    assert known.seen(30.0).seconds == pytest.approx(0.22)
    for _ in range(60):
        known = known.seen(0.4)
    assert known.seconds == pytest.approx(0.4, rel=0.01)


def test_a_number_of_rows_that_was_never_tried_is_hoped_to_cost_no_more():
    known = Curve.through([cost(1, 0.1), cost(8, 0.9, passes=UNSURE - 1)], 512 * 512)
    assert known.seconds(4) > known.hoped_s(4) == known.hoped_s(8) == 0.1
    known = Curve.through([cost(1, 0.1), cost(8, 0.9)], 512 * 512)
    assert (known.hoped_s(4), known.hoped_s(8), known.hoped_s(9)) == (0.1, 0.9, 0.9)


@settings(derandomize=True)
@given(
    st.dictionaries(st.integers(1, 16), st.floats(0.001, 10), max_size=6),
    st.integers(64, 2048),
)
def test_more_rows_never_cost_less(measured: dict[int, float], side: int):
    known = curve([cost(n, took) for n, took in measured.items()], "unet", (side, side))
    for fewer, more in itertools.pairwise(range(1, 20)):
        assert 0 < known.seconds(fewer) <= known.seconds(more) * (1 + 1e-9)
        assert known.hoped_s(more) <= known.seconds(more) * (1 + 1e-9)
