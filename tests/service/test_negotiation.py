"""What a job is to whom; over HTTP it is tried in routes/test_jobs.py."""

from datetime import UTC, datetime

import pytest
from fastapi import Request
from starlette.exceptions import HTTPException

from darkroom.job import Job, JobStatus
from service.errors import Fault
from service.negotiation import about, check_format, picture_format, wants_picture


def asking(accept: str) -> Request:
    return Request({"type": "http", "method": "GET", "headers": [(b"accept", accept.encode())]})


def job(**request: object) -> Job:
    return Job(id="job_1", status=JobStatus.QUEUED, request=request, created_at=datetime.now(UTC))


def test_a_format_that_nobody_wants_is_refused():
    check_format(asking("image/png"), "png")
    check_format(asking("*/*"), "webp")
    with pytest.raises(HTTPException, match=r"output\.format"):
        check_format(asking("image/jpeg"), "webp")


def test_the_format_is_the_one_that_the_job_asks_for():
    assert picture_format(job()) == "png"
    webp = job(output={"format": "webp"})
    assert picture_format(webp) == "webp"
    assert wants_picture(asking("image/webp"), webp)
    assert not wants_picture(asking("image/webp"), job())


def test_a_fault_names_its_job_and_keeps_its_own_headers():
    fault = Fault(503, "store_unavailable", "Later.", headers={"Retry-After": "2"})
    named = about(job(), fault, {"Vary": "Accept"})
    assert named.headers == {
        "Location": "/api/v1/jobs/job_1",
        "Vary": "Accept",
        "Retry-After": "2",
    }
    assert named.more["job"] == "job_1"
    assert named.more["urls"]["events"] == "/api/v1/jobs/job_1/events"
