"""A job is its owner's: today everybody who asks is the owner that has no name."""

import pytest

from darkroom.job import JobStatus

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
