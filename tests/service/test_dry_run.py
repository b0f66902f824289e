"""What a dry run tells, and that it leaves nothing behind."""

import base64

import pytest
from redis import Redis

from darkroom.curves import Cost
from darkroom.queue.lua import Rules
from darkroom.queue.model_records import ModelRecords
from tests.service.conftest import RECORDS, png
from tests.service.routes.test_jobs import JOBS, UNKNOWN, pointers, problem

DRY = f"{JOBS}?dry_run=true"
CAT = {"prompt": "a cat", "seed": 7}
SENT = base64.b64encode(png((9, 9), (3, 2, 1))).decode()


def foreseen(api, body: dict, url: str = DRY, **headers: str) -> dict:
    response = api.post(url, json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def kept(redis: Redis, here) -> tuple[dict, list[str]]:
    """All that Redis has, and all inputs of the store."""
    keys = {key: redis.dump(key) for key in redis.scan_iter("*")}
    return keys, sorted(here.store.input_ids(0))


def test_a_dry_run_tells_what_the_job_then_is_and_keeps_nothing(api, here, redis, announced):
    here.outlook.outdate()
    announced(serves=("pix",), models=("pix",), max_jobs=1)
    body = CAT | {"image": SENT, "guidance_scale": 16, "priority": "high"}
    before = kept(redis, here)
    told = foreseen(api, body)
    assert kept(redis, here) == before
    job = api.post(JOBS, json=body).json()
    for name in ("request", "warnings"):
        assert told[name] == job[name]
    assert (told["object"], told["replays"]) == ("dry_run", None)
    assert (told["queue"], told["position"]) == (job["queue"]["name"], 0)
    assert told["work_s"] == pytest.approx(job["queue"]["work_s"], abs=0.001)
    assert told["eta_s"] == pytest.approx(job["queue"]["eta_s"], abs=0.01)
    assert (told["workers"], told["loaded"]) == (["worker"], True)
    assert foreseen(api, body)["position"] == 1
    here.outlook.outdate()


def test_who_serves_the_model_and_whether_its_work_was_measured(api, redis, announced):
    nobody = foreseen(api, CAT)
    assert (nobody["workers"], nobody["loaded"], nobody["eta_s"]) == ([], False, None)
    assert "No worker serves" in nobody["warnings"][0]
    announced(name="b", serves=("pix", "other"), models=("other",))
    announced(name="a", serves=("pix",))
    told = foreseen(api, CAT)
    assert (told["workers"], told["loaded"], told["work_source"]) == (["a", "b"], False, "stated")
    shape = {"width": 64, "height": 64, "dtype": "float32", "passes": 50}
    cost = Cost(module="unet", rows=2, seconds=0.5, **shape)
    record = RECORDS[0].model_copy(update={"dtype": "float32", "costs": (cost,)})
    ModelRecords(redis).put(record)
    assert foreseen(api, CAT)["work_source"] == "measured"
    assert foreseen(api, CAT | {"width": 128})["work_source"] == "measured"


def test_it_is_refused_as_the_job_would_be(api, jobs):
    assert pointers(api.post(DRY, json=CAT | {"width": 7})) == ["/width"]
    assert pointers(api.post(DRY, json=CAT | {"image": "file_x"})) == ["/image"]
    problem(api.post(DRY, json=CAT | {"model": "nobody"}), 404, "model_not_found")
    for picture in ("image/png", "image/webp"):
        refused = api.post(DRY, json=CAT, headers={"Accept": picture})
        problem(refused, 406, "not_acceptable")
    assert pointers(api.post(f"{JOBS}?dry_run=yes", json=CAT)) == ["/query/dry_run"]
    for _ in range(Rules().max_queued):
        jobs.submit(CAT, model="pix")
    problem(api.post(DRY, json=CAT), 429, "queue_full")


def test_it_tells_what_an_idempotency_key_would_do(api):
    key = {"Idempotency-Key": "k"}
    assert foreseen(api, CAT, **key)["replays"] is None
    job = api.post(JOBS, json=CAT, headers=key).json()
    assert foreseen(api, CAT, **key)["replays"] == job["id"]
    problem(api.post(DRY, json={"prompt": "a dog"}, headers=key), 422, "idempotency_mismatch")


def test_a_retry_can_be_tried_dry(api, submitted):
    job = submitted(seed=7)
    url = f"{JOBS}/{job['id']}/retry?dry_run=true"
    told = foreseen(api, {"prompt": "a dog"}, url)
    assert told["request"] == job["request"] | {"prompt": "a dog"}
    assert len(api.get(JOBS).json()["data"]) == 1
    problem(api.post(f"{JOBS}/{UNKNOWN}/retry?dry_run=true"), 404, "job_not_found")
