import pytest

from darkroom.costs import Work
from darkroom.curves import UNSURE
from darkroom.errors import QueueUnavailableError
from darkroom.model_record import ModelRecord, RefusedUpload
from darkroom.queue.claim import Claim
from darkroom.queue.model_records import ModelRecords
from worker.costs import DOUBT_AFTER, Costs
from worker.running import RunningJob

RECORD = ModelRecord(name="m", source="s", dtype="float32", device="cpu", width=64, height=64)


class Asked:
    model = "m"


def job(stage="denoise", **request) -> RunningJob:
    claim = Claim("job_1", "t", {}, 1, None, 0.0, "normal")
    one = RunningJob(claim, asked=Asked(), inputs={}, deadline=None)
    one.work = Work.of({"width": 64, "height": 64, **request}, RECORD)
    one.enter(stage)
    return one


def see(costs: Costs, module: str, rows: int, seconds: float, times: int = UNSURE, **more) -> None:
    for _ in range(times):
        costs.seeing([job(**more)], module, rows)(seconds)


@pytest.fixture
def records(redis):
    return ModelRecords(redis)


@pytest.fixture
def costs(records):
    one = Costs(records)
    one.tell(RECORD)
    return one


def told(records) -> dict[tuple[str, int], float]:
    return {(c.module, c.rows): c.seconds for c in records.all()["m"].costs}


def test_what_passes_take_is_known_at_once_and_written_where_it_is_new(costs, records):
    see(costs, "unet", 2, 0.2)
    assert costs.curve(job(), "unet").seconds(2) == 0.2
    assert told(records) == {}
    costs.write_news()
    assert told(records) == {("unet", 2): 0.2}
    assert 0 < records.all()["m"].step_s < 0.2


def test_what_another_worker_refused_of_uploads_stays(costs, records):
    other, wrong = Costs(records), RefusedUpload(file="1-2", reason="does not fit")
    other.tell(RECORD.model_copy(update={"refused_uploads": {"oil": wrong}}))
    see(costs, "unet", 2, 0.2)
    costs.write_news()
    assert records.all()["m"].refused_uploads == {"oil": wrong}
    costs.tell(RECORD.model_copy(update={"source": "another"}))
    assert records.all()["m"].refused_uploads == {}


def test_of_a_pass_that_jobs_share_each_has_its_rows(costs):
    one, three = job(num_images=1), job(num_images=3)
    for module, seconds in (("unet", 0.8), ("text_encoder", 0.5), ("unet", 0.4)):
        costs.seeing([one, three], module, 8)(seconds)
    costs.seeing([three], "vae.decode", 3)(0.25)
    assert one.device_s == pytest.approx(1.2 / 4 + 0.5 / 2)
    assert one.device_s + three.device_s == pytest.approx(0.8 + 0.5 + 0.4 + 0.25)


def test_edits_are_measured_apart_from_pictures_of_the_same_size(costs, records):
    see(costs, "unet", 1, 0.2)
    see(costs, "unet", 1, 0.5, images=["a"])
    see(costs, "unet", 1, 0.9, images=["a", "b"])
    by_count = [costs.curve(job(images=["a"] * n), "unet").seconds(1) for n in range(3)]
    assert by_count == [0.2, 0.5, 0.9]
    costs.write_news()
    kept = records.all()["m"]
    assert {cost.beside: cost.seconds for cost in kept.costs} == {0: 0.2, 1: 0.5, 2: 0.9}
    assert kept.step_s == 0.2


def test_records_are_left_alone_where_little_is_new(costs, records):
    see(costs, "unet", 2, 0.2)
    costs.write_news()
    records.put(RECORD)  # what is written again now can be seen
    see(costs, "unet", 2, 0.21, times=20)
    see(costs, "unet", 4, 0.3, times=UNSURE - 2)
    costs.write_news()
    assert told(records) == {}
    see(costs, "unet", 2, 0.3, times=20)
    costs.write_news()
    assert set(told(records)) == {("unet", 2)}


def test_records_that_redis_lost_are_written_again(costs, records, redis):
    see(costs, "unet", 2, 0.2)
    costs.write_news()
    costs.tell(ModelRecord(name="broken", error="no such folder"))
    before = records.all()
    redis.flushall()
    costs.write_news()
    assert records.all() == before
    assert records.names() == {"m", "broken"}


def test_rows_that_were_dear_once_are_tried_again(costs):
    see(costs, "unet", 2, 0.2)
    see(costs, "unet", 16, 9.0)
    assert costs.curve(job(), "unet").hoped_s(16) == 9.0
    see(costs, "unet", 2, 0.2, times=2 * DOUBT_AFTER)
    assert costs.curve(job(), "unet").hoped_s(16) == 0.2
    see(costs, "unet", 16, 0.5, times=1)
    assert costs.curve(job(), "unet").hoped_s(16) == 0.5


def test_the_speed_is_what_jobs_that_share_passes_would_have_needed_alone(costs):
    see(costs, "unet", 1, 0.2, times=10)
    costs.speed.was_busy(2.5)
    assert costs.speed.value == 0.8
    for _ in range(10):
        costs.seeing([job(), job(), job()], "unet", 3)(0.25)
    costs.seeing([job("encode")], "text_encoder", 1)(0.5)
    costs.speed.was_busy(2.5)
    assert costs.speed.value == (10 * 0.2 + 10 * 3 * 0.2 + 0.5) / 5


def test_what_a_job_does_apart_is_told_by_its_pictures(costs):
    for _ in range(UNSURE):
        one = job("encode", num_images=2)
        costs.seeing([one], "text_encoder", 2)(0.1)
        costs.seeing([one], "vae.encode", 2)(0.3)
        one.enter("denoise")
        costs.seeing([one], "unet", 4)(0.2)
        costs.seeing([one], "unet", 4)(0.2)
        one.enter("decode")
        costs.seeing([one], "vae.decode", 2)(0.7)
    assert costs.curve(one, "encode").seconds(2) == pytest.approx(0.4)
    assert costs.curve(one, "decode").seconds(2) == pytest.approx(0.7)
    takes = costs.takes(one)
    assert (takes.encode_s, takes.decode_s) == (pytest.approx(0.4), pytest.approx(0.7))
    assert 0 < takes.pass_s < 0.2


def test_a_job_that_makes_its_pictures_one_by_one_tells_of_its_steps_alone(costs):
    one = job("encode", num_images=2, deterministic=True)
    before = costs.curve(one, "encode").seconds(1)
    costs.seeing([one], "text_encoder", 1)(9.0)
    costs.seeing([one], "unet", 1)(0.2)
    costs.seeing([one], "vae.decode", 1)(9.0)
    assert costs.curve(one, "encode").seconds(1) == before
    assert costs.curve(one, "unet").seconds(1) == 0.2


@pytest.mark.parametrize(
    ("other", "is_kept"), [({}, True), ({"device": "cuda"}, False), ({"revision": "b"}, False)]
)
def test_an_engine_goes_on_where_another_left_off(costs, records, other, is_kept):
    see(costs, "unet", 2, 0.2)
    costs.write_news()
    Costs(records).tell(RECORD.model_copy(update=other))
    assert (told(records) != {}) is is_kept


def test_a_model_that_could_not_be_loaded_is_told_without_costs(records):
    Costs(records).tell(ModelRecord(name="m", error="no such folder"))
    assert (records.all()["m"].error, told(records)) == ("no such folder", {})


def test_a_record_that_could_not_be_written_is_written_later(records, redis):
    costs = Costs(records)
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailableError):
            costs.tell(RECORD)
        costs.write_news()
        assert records.all() == {}
    finally:
        redis.config_set("maxmemory", 0)
    costs.write_news()
    assert records.all() == {"m": RECORD}


def test_the_thread_writes_what_is_left_when_it_is_closed(costs, records):
    costs.start()
    see(costs, "unet", 2, 0.2)
    costs.close()
    assert told(records) == {("unet", 2): 0.2}
