import pytest

from darkroom.costs import MOST_COSTS, Work, most_used, score, solo_s
from darkroom.curves import Cost, curve, stated_s
from darkroom.model_record import ModelRecord
from tests.darkroom.test_curves import cost

REQUEST = {"width": 512, "height": 512, "num_inference_steps": 20, "num_images": 1}


def record(*costs: Cost, **more) -> ModelRecord:
    return ModelRecord(name="m", dtype="float32", width=512, height=512, costs=costs, **more)


MEASURED = record(
    *(cost(2, 0.2), cost(4, 0.3)),
    *(cost(1, 0.05, "encode"), cost(1, 0.5, "decode"), cost(3, 1.0, "decode")),
)


def test_until_something_is_measured_a_stated_value_counts():
    nothing = curve((), "unet", (512, 512))
    assert nothing.seconds(1) == stated_s(512 * 512, 1) == pytest.approx(0.1)
    assert solo_s(REQUEST, None) == pytest.approx(22 * 0.1)
    assert solo_s({"prompt": "a cat"}, record()) == pytest.approx(27 * 0.1)


def test_edits_have_costs_of_their_own_by_how_many_pictures_they_work_from():
    edits = (cost(1, 0.3, beside=1), cost(1, 0.6, "encode", beside=1))
    known = record(cost(1, 0.1), cost(1, 0.4, "encode"), cost(1, 0.2, "decode"), *edits)
    assert solo_s(REQUEST, known) == pytest.approx(0.4 + 20 * 0.1 + 0.2)
    one = solo_s(REQUEST | {"images": ["a"]}, known)
    assert one == pytest.approx(0.6 + 20 * 0.3 + 0.2)
    assert solo_s(REQUEST | {"images": ["a", "b"]}, known) > one


def test_layers_lengthen_what_the_network_sees_and_what_is_decoded():
    layered = record(pipeline="QwenImageLayeredPipeline")
    work = Work.of(REQUEST | {"images": ["a"], "num_images": 2}, layered)
    assert (work.images, work.rounds) == (1, 2)
    assert (work.beside("transformer"), work.beside("decode")) == (5, 3)
    work = Work.of(REQUEST | {"images": ["a"], "layers": 2}, layered)
    assert (work.beside("transformer"), work.beside("decode")) == (3, 1)


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


def test_a_record_keeps_what_it_learned_and_not_more_than_it_may_hold():
    costs = [cost(rows, 0.1, passes=rows) for rows in range(1, MOST_COSTS + 9)]
    kept = record(*most_used(costs))
    assert [each.rows for each in kept.costs] == list(range(9, MOST_COSTS + 9))
    assert ModelRecord.model_validate_json(kept.model_dump_json()) == kept


def test_the_shorter_goes_first_until_the_longer_has_waited_long_for_its_length():
    assert score(1.0, 0.0) < score(2.0, 0.0)
    assert score(2.0, 20.0) < score(1.0, 0.0)
    assert score(1.0, -3600.0) == score(1.0, 0.0), "a clock was put back"
