"""Jobs from other jobs, over HTTP; those from bodies are in test_jobs.py."""

import base64

import pytest

from tests.service.conftest import bearer, png
from tests.service.routes.test_jobs import JOBS, UNKNOWN, pointers, problem

# Retry


def retried(api, job: dict, changes: dict | None = None, **headers: str) -> dict:
    response = api.post(f"{JOBS}/{job['id']}/retry", json=changes or {}, headers=headers)
    assert response.status_code == 202, response.text
    return response.json()


def test_a_job_is_made_again_as_it_was_in_whatever_status(api, submitted, work):
    job = submitted(seed=7, tags=["x"], metadata={"k": "v"}, priority="high", deadline_s=60)
    queued = retried(api, job)
    work.all()
    ended = api.post(f"{JOBS}/{job['id']}/retry")
    assert ended.status_code == 202
    assert ended.headers["location"] == f"{JOBS}/{ended.json()['id']}"
    for again in (queued, ended.json()):
        assert again["id"] != job["id"]
        assert again["parent_id"] == job["id"]
        for name in ("request", "tags", "metadata", "priority"):
            assert again[name] == job[name]
        assert api.get(again["urls"]["self"]).json()["parent_id"] == job["id"]
    assert api.get(job["urls"]["self"]).json()["parent_id"] is None


def test_fields_take_the_place_of_those_of_the_old_job(api, submitted):
    job = submitted(seed=7, num_inference_steps=10, tags=["x"])
    changes = {"prompt": "a dog", "num_inference_steps": None, "tags": ["y"], "priority": "low"}
    again = retried(api, job, changes)
    changed = {"prompt": "a dog", "num_inference_steps": 25}
    assert again["request"] == job["request"] | changed
    assert (again["tags"], again["queue"]["name"]) == (["y"], "pix.low")
    seeds = {retried(api, job, {"seed": None})["request"]["seed"] for _ in range(3)}
    assert len(seeds - {7}) == 3


def test_changes_are_checked_as_a_body_is(api, submitted):
    url = f"{JOBS}/{submitted()['id']}/retry"
    assert pointers(api.post(url, json={"width": 7, "nope": 1})) == ["/width", "/nope"]
    problem(api.post(url, json={"model": "nobody"}), 404, "model_not_found")
    problem(api.post(url, content=b"[]", headers={"Content-Type": "text/plain"}), 415,
            "unsupported_media_type")  # fmt: skip
    problem(api.post(url, json=[]), 400, "malformed_request")
    problem(api.post(url, headers={"Accept": "image/webp"}), 406, "not_acceptable")
    problem(api.post(f"{JOBS}/{UNKNOWN}/retry", json={}), 404, "job_not_found")
    assert len(api.get(JOBS).json()["data"]) == 1


def test_a_job_whose_model_is_gone_cannot_be_made_again(api, jobs):
    gone = jobs.submit({"task": "text-to-image", "model": "withdrawn"}, model="withdrawn").job
    problem(api.post(f"{JOBS}/{gone.id}/retry"), 404, "model_not_found")
    assert retried(api, {"id": gone.id}, {"model": "pix", "prompt": "a cat"})


def test_a_retry_sent_again_is_one_job(api, submitted):
    one, other = submitted(), submitted()
    key = {"Idempotency-Key": "k"}
    first = retried(api, one, {"seed": None}, **key)
    again = api.post(f"{JOBS}/{one['id']}/retry", json={"seed": None}, headers=key)
    assert again.json() == first
    assert again.headers["idempotency-replayed"] == "true"
    for job, changes in ((one, {"seed": 1}), (other, {"seed": None})):
        response = api.post(f"{JOBS}/{job['id']}/retry", json=changes, headers=key)
        problem(response, 422, "idempotency_mismatch")


def test_a_retry_can_wait_for_its_picture(api, submitted, work, background):
    job = submitted()
    work.all()
    background(work.all)
    response = api.post(f"{JOBS}/{job['id']}/retry", headers={"Accept": "image/png"})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert response.headers["location"] != job["urls"]["self"]


@pytest.fixture
def ann(made) -> dict[str, str]:
    return bearer(made("ann"))


def test_input_pictures_are_those_of_the_old_job_for_who_may_see_it(http, ann, made):
    body = {"prompt": "a cat", "image": base64.b64encode(png()).decode()}
    job = http.post(JOBS, json=body, headers=ann).json()
    url = f"{JOBS}/{job['id']}/retry"
    again = http.post(url, headers=ann).json()
    assert again["request"] == job["request"]
    assert again["request"]["image"].startswith("file_")
    problem(http.post(url, headers=bearer(made("bob"))), 404, "job_not_found")
    admin = bearer(made("admin", ("admin",)))
    assert http.post(url, headers=admin).status_code == 202
    # What admin made of it is admin's own.
    assert len(http.get(JOBS, headers=ann).json()["data"]) == 2
