"""A job is its owner's: today everybody who asks is the owner that has no name."""

from collections.abc import Iterator
from typing import Annotated

import pytest
from fastapi import Header
from starlette.testclient import TestClient

from darkroom.job import JobStatus
from darkroom.settings import Settings
from service.access import Asker, who_asks
from service.app import create_app

JOBS = "/api/v1/jobs"


@pytest.fixture
def foreign(jobs) -> str:
    """A job of somebody else."""
    return jobs.submit({"prompt": "s3cret"}, model="pix", owner="somebody else").job.id


@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/events")]
)
def test_a_job_of_somebody_else_is_not_there(api, foreign, jobs, method, rest):
    response = api.request(method, f"{JOBS}/{foreign}{rest}")
    assert (response.status_code, response.json()["code"]) == (404, "job_not_found")
    assert "s3cret" not in response.text
    assert jobs.fetch(foreign).status is JobStatus.QUEUED


def test_jobs_of_somebody_else_are_not_listed(api, foreign, submitted):
    mine = submitted()["id"]
    assert foreign != mine
    assert [job["id"] for job in api.get(JOBS).json()["data"]] == [mine]


def test_a_key_is_each_owners_own(api, jobs):
    jobs.submit({}, model="pix", owner="somebody else", idempotency_key="k", fingerprint="f")
    response = api.post(JOBS, json={"prompt": "a cat"}, headers={"Idempotency-Key": "k"})
    assert response.status_code == 202
    assert "idempotency-replayed" not in response.headers


@pytest.fixture
def told_apart(models_toml, valkey, tmp_path, here) -> Iterator[TestClient]:  # noqa: ARG001
    """The API as it would be if a header named who asks."""

    async def name(x_name: Annotated[str, Header()] = "") -> Asker:
        return Asker(x_name)

    settings = Settings(
        _env_file=None, models=models_toml, redis_url=valkey.url, state_dir=tmp_path
    )
    app = create_app(settings)
    app.dependency_overrides[who_asks] = name
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def test_who_asks_is_told_in_one_place(told_apart, foreign):
    theirs = {"X-Name": "somebody else"}
    for method, rest in (("GET", ""), ("POST", "/cancel"), ("GET", "/events"), ("DELETE", "")):
        url = f"{JOBS}/{foreign}{rest}"
        assert told_apart.request(method, url).status_code == 404
        assert told_apart.request(method, url, headers=theirs).status_code < 300
    mine = told_apart.post(JOBS, json={"prompt": "a cat"}, headers=theirs).json()["id"]
    assert told_apart.get(JOBS).json()["data"] == []
    assert [job["id"] for job in told_apart.get(JOBS, headers=theirs).json()["data"]] == [mine]
