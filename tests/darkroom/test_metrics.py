from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from darkroom.errors import QueueUnavailableError
from darkroom.job import JobError, JobStatus
from darkroom.metrics import exposition, look
from darkroom.queue.connection import connect
from darkroom.queue.lua import Rules
from darkroom.queue.pausing import switch
from darkroom.queue.queue import Queue
from darkroom.queue.workers import WorkerInfo, Workers
from tests.begun import begun


def read(redis: Redis) -> dict[str, list[tuple[dict[str, str], float]]]:
    try:
        seen = Queue(redis).carry_out(look())
    except QueueUnavailableError:
        seen = None
    text = exposition(seen).decode()
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_h1_jobs_are_counted_by_how_they_ended(redis):
    queue = Queue(redis)
    for _ in range(3):
        queue.submit({"prompt": "s3cret"}, model="pix")
    claims = [begun(queue, queues=["pix.normal"]) for _ in range(2)]
    queue.finish(claims[0], JobStatus.SUCCEEDED)
    queue.finish(claims[1], JobStatus.FAILED, error=JobError(code="out_of_memory", message="."))
    metrics = read(redis)
    assert metrics["darkroom_jobs_submitted"] == [({"model": "pix"}, 3)]
    ended = {
        (labels["status"], labels["error_code"]): count
        for labels, count in metrics["darkroom_jobs_finished"]
    }
    assert ended == {("succeeded", ""): 1, ("failed", "out_of_memory"): 1}
    jobs = {labels["state"]: count for labels, count in metrics["darkroom_queue_jobs"]}
    assert jobs == {"queued": 1, "running": 0}
    assert metrics["darkroom_queue_oldest_job_age_seconds"][0][1] > 0
    assert "s3cret" not in str(metrics)


def test_the_work_of_a_model_is_told_in_seconds_over_all_its_queues(redis):
    queue = Queue(redis)
    queue.submit({}, model="v1.5", work_s=2)
    queue.submit({}, model="v1.5", work_s=3, priority="high")
    queue.submit({}, model="pix", work_s=0.5)
    assert read(redis)["darkroom_backlog_seconds"] == [
        ({"model": "pix"}, 0.5),
        ({"model": "v1.5"}, 5),
    ]


def test_a_paused_queue_is_told(redis):
    queue = Queue(redis)
    for model in ("v1.5", "pix"):
        queue.submit({}, model=model)
    queue.carry_out(switch("pause", "pix"))
    told = [({"queue": "pix.normal"}, 1), ({"queue": "v1.5.normal"}, 0)]
    assert read(redis)["darkroom_queue_paused"] == told


def test_what_engines_lost_is_counted(redis):
    queue = Queue(redis, Rules(max_attempts=9))
    queue.submit({}, model="pix")
    for give_back in (lambda _: queue.reap("e"), queue.release):
        give_back(begun(queue, queues=["pix.normal"]))
    metrics = read(redis)
    assert metrics["darkroom_jobs_reaped"] == [({}, 1)]
    assert metrics["darkroom_jobs_released"] == [({}, 1)]


def test_workers_are_counted_by_state_and_model(redis):
    for name, state in (("a", "idle"), ("b", "busy"), ("c", "busy")):
        info = WorkerInfo(
            name=name,
            engine=name,
            state=state,
            models=("pix",) if state == "busy" else (),
            serves=("pix",),
            device="cpu",
            max_jobs=8,
            running=0,
            version="0",
            started_at=datetime.now(UTC),
        )
        Workers(redis).announce(info, ttl_s=60)
    metrics = read(redis)
    assert metrics["darkroom_workers"] == [({"state": "busy"}, 2), ({"state": "idle"}, 1)]
    assert metrics["darkroom_model_loaded"] == [({"model": "pix"}, 2)]


@pytest.mark.parametrize("up", [True, False])
def test_whether_redis_answers_is_a_metric_itself(redis, up, tmp_path):
    metrics = read(redis if up else connect(f"unix://{tmp_path}/none"))
    assert metrics["darkroom_redis_up"] == [({}, float(up))]
    assert ("darkroom_workers" in metrics) is up
