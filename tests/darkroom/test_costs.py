import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.costs import (
    MOST_COSTS,
    UNSURE,
    Cost,
    Curve,
    Work,
    curve,
    most_used,
    score,
    solo_s,
    stated_s,
)
from darkroom.offers import ModelRecord

REQUEST = {"width": 512, "height": 512, "num_inference_steps": 20, "num_images": 1}


def cost(rows: int, seconds: float, module: str = "unet", side: int = 512, **more) -> Cost:
    known = {"dtype": "float32", "passes": 50, **more}
    return Cost(module=module, width=side, height=side, rows=rows, seconds=seconds, **known)


def record(*costs: Cost, **more) -> ModelRecord:
    return ModelRecord(name="m", dtype="float32", width=512, height=512, costs=costs, **more)


MEASURED = record(
    *(cost(2, 0.2), cost(4, 0.3)),
    *(cost(1, 0.05, "encode"), cost(1, 0.5, "decode"), cost(3, 1.0, "decode")),
)


def test_what_was_measured_is_told_and_what_lies_between_follows_from_it():
    known = curve(MEASURED.costs, "unet", (512, 512), "float32")
    assert known.seconds(2) == 0.2
    assert known.seconds(3) == pytest.approx(0.25)
    assert 0 < known.seconds(1) < 0.2
    assert 0.3 < known.seconds(8) < 0.6
    assert known.seconds(4) == 0.3


def test_until_something_is_measured_a_stated_value_counts():
    nothing = curve((), "unet", (512, 512))
    assert nothing.seconds(1) == stated_s(512 * 512, 1) == pytest.approx(0.1)
    assert solo_s(REQUEST, None) == pytest.approx(22 * 0.1)
    assert solo_s({"prompt": "a cat"}, record()) == pytest.approx(27 * 0.1)


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


def test_a_job_takes_its_ends_and_every_step_in_the_rows_that_it_has():
    assert solo_s(REQUEST | {"guidance_scale": 7.5}, MEASURED) == pytest.approx(0.55 + 20 * 0.2)
    three = REQUEST | {"num_images": 3, "guidance_scale": 1.0}
    assert solo_s(three, MEASURED) == pytest.approx(
        curve(MEASURED.costs, "encode", (512, 512)).seconds(3) + 1.0 + 20 * 0.25
    )
    one_by_one = solo_s(three | {"deterministic": True}, MEASURED)
    assert one_by_one == pytest.approx(3 * solo_s(REQUEST, MEASURED))


def test_strength_solvers_and_controlnets_change_the_passes():
    def work(**more: object) -> Work:
        return Work.of(REQUEST | more, MEASURED)

    assert work(strength=0.5).passes == 10
    assert work(strength=0.0).passes == 0
    assert work(scheduler="HeunDiscreteScheduler").passes == 40
    assert work(controls=[{"name": "canny"}] * 2).controls == 2
    assert work(guidance_scale=7.5, num_images=2).rows == 4
    for pipeline, rows, passes in (
        ("FluxPipeline", 1, 20),  # its network is told the scale
        ("Flux2KleinPipeline", 1, 40),
        ("HunyuanImagePipeline", 1, 40),
        ("StableDiffusionInstructPix2PixPipeline", 3, 20),
    ):
        guided = Work.of(REQUEST | {"guidance_scale": 7.5}, record(pipeline=pipeline))
        assert (guided.rows, guided.passes) == (rows, passes)
        plain = Work.of(REQUEST | {"guidance_scale": 1.0}, record(pipeline=pipeline))
        assert (plain.rows, plain.passes) == (1, 20)
    controlled = solo_s(REQUEST | {"controls": [{"name": "canny"}]}, MEASURED)
    assert controlled == pytest.approx(solo_s(REQUEST, MEASURED) + 20 * stated_s(512 * 512, 1))


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


def test_a_record_keeps_what_it_learned_and_not_more_than_it_may_hold():
    costs = [cost(rows, 0.1, passes=rows) for rows in range(1, MOST_COSTS + 9)]
    kept = record(*most_used(costs))
    assert [each.rows for each in kept.costs] == list(range(9, MOST_COSTS + 9))
    assert ModelRecord.model_validate_json(kept.model_dump_json()) == kept


def test_the_shorter_goes_first_until_the_longer_has_waited_long_for_its_length():
    assert score(1.0, 0.0) < score(2.0, 0.0)
    assert score(2.0, 20.0) < score(1.0, 0.0)
    assert score(1.0, -3600.0) == score(1.0, 0.0), "a clock was put back"
