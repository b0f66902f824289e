"""Batches over HTTP; what their bodies mean is in test_batch_bodies.py."""

import base64

import pytest

from darkroom.job import JobStatus
from darkroom.queue.lua import Rules
from tests.service.conftest import bearer, png
from tests.service.routes.test_jobs import JOBS, pointers, problem

BATCH = f"{JOBS}/batch"
DRY = f"{BATCH}?dry_run=true"
BATCHES = "/api/v1/batches"
CAT = {"prompt": "a cat"}
GRID = CAT | {"grid": {"seed": [7, 8], "guidance_scale": [1, 2, 3]}}
LIST = {"jobs": [CAT | {"seed": 1}, CAT | {"model": "other", "priority": "high"}]}


def sent(color: int) -> str:
    return base64.b64encode(png(color=(color, 1, 1))).decode()


def batch(api, body: dict, **headers: str) -> dict:
    response = api.post(BATCH, json=body, headers=headers)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == response.json()["urls"]["self"]
    return response.json()


def requests(api, made: dict) -> list[dict]:
    return [api.get(job["url"]).json()["request"] for job in made["jobs"]]


def count(api) -> int:
    return len(api.get(JOBS).json()["data"])


def test_a_grid_becomes_a_job_for_each_cell(api):
    made = batch(api, GRID)
    asked = [(each["seed"], each["guidance_scale"]) for each in requests(api, made)]
    assert asked == [(7, 1), (7, 2), (7, 3), (8, 1), (8, 2), (8, 3)]
    for (seed, guidance), job in zip(asked, made["jobs"], strict=True):
        at = job["at"]
        assert made["grid"]["seed"][at["seed"]] == seed
        assert made["grid"]["guidance_scale"][at["guidance_scale"]] == guidance
        assert api.get(job["url"]).json()["batch_id"] == made["id"]
    assert made["counts"] == {
        **{"queued": 6, "running": 0, "succeeded": 0, "failed": 0, "canceled": 0, "gone": 0}
    }
    assert not made["done"]


def test_a_list_becomes_its_jobs(api):
    made = batch(api, LIST)
    assert (made["grid"], made["jobs"][0]["at"]) == (None, None)
    first, second = (api.get(job["url"]).json() for job in made["jobs"])
    assert (first["request"]["seed"], first["queue"]["name"]) == (1, "pix.normal")
    assert second["queue"]["name"] == "other.high"


def test_a_batch_is_followed_to_its_end(api, work):
    made = batch(api, GRID)
    url = made["urls"]["self"]
    before = api.get(url)
    assert before.headers["retry-after"] == "1"
    known = {"If-None-Match": before.headers["etag"]}
    assert api.get(url, headers=known).status_code == 304
    done = [work.all() for _ in range(5)]
    work.finish(work.claim(), JobStatus.FAILED)
    after = api.get(url, headers=known)
    now = after.json()
    assert after.status_code == 200
    assert "retry-after" not in after.headers
    assert (now["done"], now["counts"]["succeeded"], now["counts"]["failed"]) == (True, 5, 1)
    assert now["jobs"][0]["images"] == [done[0].images[0].url]
    assert api.get(now["jobs"][0]["images"][0]).status_code == 200


def test_jobs_are_listed_by_batch(api, submitted):
    made = batch(api, LIST)
    submitted()
    listed = api.get(made["urls"]["jobs"]).json()["data"]
    assert [job["id"] for job in listed] == [job["id"] for job in reversed(made["jobs"])]
    assert pointers(api.get(f"{JOBS}?batch=7")) == ["/query/batch"]
    assert api.get(f"{JOBS}?batch=batch_{'0' * 32}").json()["data"] == []


def test_it_is_canceled_and_deleted_as_one(api, work):
    made = batch(api, GRID)
    url = made["urls"]["self"]
    work.all()
    old = api.get(url).headers["etag"]
    canceled = api.post(made["urls"]["cancel"])
    assert canceled.status_code == 202
    assert canceled.json()["counts"]["canceled"] == 5
    assert api.post(made["urls"]["cancel"]).status_code == 200
    for ask in (lambda h: api.post(made["urls"]["cancel"], headers=h),
                lambda h: api.delete(url, headers=h)):  # fmt: skip
        problem(ask({"If-Match": old}), 412, "precondition_failed")
        problem(ask({"If-Match": ""}), 412, "precondition_failed")
    image = canceled.json()["jobs"][0]["images"][0]
    assert api.delete(url).status_code == 204
    assert count(api) == 0
    assert api.get(image).status_code == 404
    for method, path in (("GET", url), ("POST", made["urls"]["cancel"]), ("DELETE", url)):
        problem(api.request(method, path), 404, "batch_not_found")
    problem(api.get(f"{BATCHES}/x"), 404, "batch_not_found")


def test_it_says_what_of_it_is_gone(api):
    made = batch(api, LIST)
    assert api.delete(made["jobs"][0]["url"]).status_code == 204
    now = api.get(made["urls"]["self"]).json()
    assert (now["counts"]["gone"], now["counts"]["queued"]) == (1, 1)
    assert (now["jobs"][0]["status"], now["jobs"][1]["status"]) == (None, "queued")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"jobs": [CAT, CAT, CAT | {"width": 7}, {"nope": 1}]},
         ["/jobs/2/width", "/jobs/3/prompt", "/jobs/3/nope"]),
        ({"jobs": [CAT | {"model": "nobody"}, CAT | {"model": 1}]},
         ["/jobs/0/model", "/jobs/1/model"]),
        (CAT | {"grid": {"width": [64, 72, 7], "seed": [1, 2]}}, ["/grid/width/2"]),
        (CAT | {"steps": 1, "grid": {"seed": [1, 2]}}, ["/steps"]),
        (CAT | {"model": "nobody", "grid": {"seed": [1, 2]}}, ["/model"]),
        (CAT | {"grid": {"model": ["pix", "nobody"]}}, ["/grid/model/1"]),
        ({"jobs": [CAT, CAT | {"image": "file_x"}]}, ["/jobs/1/image"]),
        (CAT | {"grid": {"image": [sent(221), "AAAA"]}}, ["/grid/image/1"]),
    ],
)  # fmt: skip
def test_one_wrong_request_refuses_all_and_is_pointed_at(api, here, body, where):
    before = sorted(here.store.input_ids(0))
    for url in (BATCH, DRY):
        assert pointers(api.post(url, json=body)) == where
    assert count(api) == 0
    assert sorted(here.store.input_ids(0)) == before


def test_what_is_no_json_is_refused(api):
    problem(api.post(BATCH, content=b"{}", headers={"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")  # fmt: skip
    problem(api.post(BATCH, json=[]), 400, "malformed_request")
    assert pointers(api.post(BATCH, json=CAT)) == [""]


def test_a_batch_sent_again_is_one_batch(api):
    key = {"Idempotency-Key": "k"}
    for body, other in ((GRID, LIST), (CAT | {"grid": {"image": [sent(1), sent(2)]}}, GRID)):
        first = batch(api, body, **key)
        again = api.post(BATCH, json=body, headers=key)
        assert again.json() == first
        assert again.headers["idempotency-replayed"] == "true"
        problem(api.post(BATCH, json=other, headers=key), 422, "idempotency_mismatch")
        problem(api.post(JOBS, json=CAT, headers=key), 422, "idempotency_mismatch")
        assert api.post(DRY, json=body, headers=key).json()["replays"] == first["id"]
        assert count(api) == len(first["jobs"])
        assert api.delete(first["urls"]["self"]).status_code == 204


def test_pictures_are_taken_once(api, here):
    before = set(here.store.input_ids(0))
    one, two = sent(201), sent(202)
    made = batch(api, CAT | {"image": one, "grid": {"strength": [0.3, 0.6], "seed": [1, 2]}})
    images = {each["image"] for each in requests(api, made)}
    assert len(images) == 1
    assert set(here.store.input_ids(0)) - before == images
    grid = batch(api, CAT | {"grid": {"image": [one, two, None]}})
    told = grid["grid"]["image"]
    assert told == [each.get("image") for each in requests(api, grid)]
    assert told[0] in images
    assert told[1].startswith("file_")
    assert told[2] is None


def test_a_refused_batch_leaves_no_pictures(api, here, jobs):
    for _ in range(Rules().max_queued - 1):
        jobs.submit(CAT, model="pix")
    before = sorted(here.store.input_ids(0))
    body = CAT | {"grid": {"image": [sent(211), sent(212)]}}
    for url in (BATCH, DRY):
        refused = problem(api.post(url, json=body), 429, "queue_full")
        assert "The 2 of this batch" in refused["detail"]
    assert sorted(here.store.input_ids(0)) == before
    assert api.post(BATCH, json=CAT | {"grid": {"seed": [1]}}).status_code == 202


def test_a_dry_run_tells_of_each_job_and_keeps_nothing(api, redis):
    before = set(redis.scan_iter("*"))
    told = api.post(DRY, json=GRID)
    assert told.status_code == 200
    told = told.json()
    assert set(redis.scan_iter("*")) == before
    assert [each["position"] for each in told["jobs"]] == [0, 1, 2, 3, 4, 5]
    assert told["work_s"] == pytest.approx(sum(each["work_s"] for each in told["jobs"]), abs=0.01)
    made = requests(api, batch(api, GRID))
    assert [each["request"] for each in told["jobs"]] == made


# Keys


def test_each_sees_their_own(http, made):
    ann, bob, admin = (bearer(made(n, s)) for n, s in
                       (("ann", ("submit", "read")), ("bob", ("submit", "read")),
                        ("root", ("admin",))))  # fmt: skip
    response = http.post(BATCH, json=LIST, headers=ann)
    its = response.json()
    absent = f"{BATCHES}/batch_{'0' * 32}"
    for method, rest in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
        strange = http.request(method, its["urls"]["self"] + rest, headers=bob)
        problem(strange, 404, "batch_not_found")
        nothing = http.request(method, absent + rest, headers=bob).json()
        told = strange.json() | {"request_id": "", "instance": ""}
        assert str(told).replace(its["id"], "") == str(
            nothing | {"request_id": "", "instance": ""}
        ).replace(f"batch_{'0' * 32}", "")
    assert http.get(its["urls"]["jobs"], headers=bob).json()["data"] == []
    for who in (ann, admin):
        assert http.get(its["urls"]["self"], headers=who).json()["counts"]["queued"] == 2


def test_limits_of_a_key_count_each_job(http, made):
    ann = bearer(made("ann", per_minute=10, max_active=6))
    over = problem(http.post(BATCH, json=CAT | {"grid": {"seed": list(range(7))}}, headers=ann),
                   422, "invalid_parameters")  # fmt: skip
    assert over["errors"][0]["pointer"] == "/grid"
    first = http.post(BATCH, json=CAT | {"grid": {"seed": [1, 2, 3, 4]}}, headers=ann)
    assert first.status_code == 202
    assert '"default";r=5;' in first.headers["ratelimit"]  # one for the refusal, four for these
    three = CAT | {"grid": {"seed": [1, 2, 3]}}
    problem(http.post(BATCH, json=three, headers=ann), 429, "too_many_active_jobs")
    assert http.post(first.json()["urls"]["cancel"], headers=ann).status_code == 202
    limited = http.post(BATCH, json={"jobs": [CAT] * 4}, headers=ann)
    problem(limited, 429, "rate_limited")
    assert 1 <= int(limited.headers["retry-after"]) <= 6
    assert '"default";r=2;' in limited.headers["ratelimit"]
