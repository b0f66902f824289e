import uuid

import pytest

from darkroom.catalog import Catalog
from darkroom.curves import UNSURE, Curve
from darkroom.draft import stored
from darkroom.offers import offer
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from darkroom.validation import completed, parse
from tests import tiny
from tests.begun import begin_what_is_asked
from worker.engine import assemble

MODELS = """
[[models]]
name = "tiny"
source = "{}"
limits = {{ min_size = 8, max_size = 64, size_multiple = 4 }}
"""


@pytest.fixture(params=["sd15", "flux"])
def family(request):
    return request.param


@pytest.fixture
def engine(redis, tmp_path, family):
    tiny.write(family, tmp_path / family)
    (tmp_path / "models.toml").write_text(MODELS.format(family))
    settings = Settings(_env_file=None, state_dir=tmp_path, models=tmp_path / "models.toml")
    return assemble(
        settings, Queue(redis), ModelRecords(redis), worker="w", engine=uuid.uuid4().hex
    )


def submit(engine, **body) -> None:
    catalog: Catalog = engine.catalog
    known = offer(catalog, catalog.find("tiny"), engine.models.get("tiny").record)
    asked = {"prompt": "a cat", "num_inference_steps": 3, "width": 16, "height": 16} | body
    request = stored(completed(parse(asked, known), known, None), known)
    engine.intake._jobs.submit(request, model="tiny")


def work_off(engine) -> None:
    engine.intake.take_what_fits()
    for _ in range(1000):
        if len(engine.held) == 0:
            return
        engine.tick()
        begin_what_is_asked(engine.admission.beginning)
    raise AssertionError("jobs did not come to an end")


def test_passes_are_told_by_module_and_rows(engine, redis, family):
    engine.models.preload(["tiny"])
    for _ in range(UNSURE):
        submit(engine, guidance_scale=5.0)
        work_off(engine)
        submit(engine, guidance_scale=1.0, num_images=4)
        work_off(engine)
    engine.costs.write_news()
    record = ModelRecords(redis).all()["tiny"]
    network = "transformer" if family == "flux" else "unet"
    alone = 1 if family == "flux" else 2
    found = {(cost.module, cost.rows) for cost in record.costs}
    ends = {(name, images) for name in ("encode", "decode") for images in (1, 4)}
    assert found == {(network, alone), (network, 4), *ends}
    dtype = "bfloat16" if engine.device.type == "cuda" else "float32"
    assert {(cost.width, cost.height, cost.dtype) for cost in record.costs} == {(16, 16, dtype)}


@pytest.mark.parametrize("family", ["sd15"], indirect=True)
def test_passes_that_are_padded_to_the_same_rows_are_one_kind(engine, redis):
    engine.gather._row_counts = (1, 2, 4, 8)
    engine.models.preload(["tiny"])
    for pictures in (3, 4) * UNSURE:
        submit(engine, guidance_scale=1.0, num_images=pictures)
        work_off(engine)
    engine.costs.write_news()
    costs = ModelRecords(redis).all()["tiny"].costs
    assert {cost.rows for cost in costs if cost.module == "unet"} == {4}
    curve = Curve(256, ((4, 1.0, True), (8, 1.5, True)))
    assert [engine.passes._hoped_s(curve)(rows) for rows in (3, 4, 5, 8)] == [1.0, 1.0, 1.5, 1.5]


@pytest.mark.parametrize("family", ["sd15"], indirect=True)
def test_the_batcher_is_shown_what_a_job_still_has_to_do(engine):
    engine.models.preload(["tiny"])
    submit(engine, num_inference_steps=4, guidance_scale=5.0, scheduler="DDIMScheduler")
    engine.intake.take_what_fits()
    shown = []
    for _ in range(1000):
        if len(engine.held) == 0:
            break
        for token, call in engine.gather.parked.items():
            shown.append(engine.passes._candidate(call, engine._jobs[token]))
        engine.tick()
        begin_what_is_asked(engine.admission.beginning)
    steps = [each for each in shown if each.joinable]
    assert [(each.passes, each.rows) for each in steps] == [(4, 2), (3, 2), (2, 2), (1, 2)]
    assert {each.prepares for each in steps} == {False}
    assert {each.prepares for each in shown[: shown.index(steps[0])]} == {True}
    decoding = shown[-1]
    assert not decoding.prepares
    assert decoding.remaining_s < steps[-1].remaining_s
