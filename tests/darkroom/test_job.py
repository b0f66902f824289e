from datetime import UTC, datetime
from itertools import pairwise

import pytest

from darkroom.job import Job, JobStatus, Progress, new_job_id


def test_what_has_ended_is_terminal():
    assert {status for status in JobStatus if status.terminal} == {
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELED,
    }


def test_every_status_has_its_own_rq_word():
    assert {JobStatus.from_rq(status.rq) for status in JobStatus} == set(JobStatus)


def test_a_word_of_rq_that_is_not_ours_is_refused():
    with pytest.raises(ValueError, match="deferred"):
        JobStatus.from_rq("deferred")


def test_ids_sort_by_time():
    ids = [new_job_id() for _ in range(100)]
    assert all(a < b for a, b in pairwise(ids))


def test_what_a_job_does_is_told_in_words():
    assert Progress(stage="load", detail="the model sdxl").doing == "load the model sdxl"
    assert Progress(stage="load", detail="compiling sdxl").doing == "compiling sdxl"
    assert Progress(stage="denoise").doing == "denoise"


def test_a_job_reads_with_every_field_of_the_contract():
    job = Job(id="job_1", status="queued", request={"task": "x"}, created_at=datetime.now(UTC))
    shown = job.model_dump(mode="json", by_alias=True)
    assert set(shown) == {
        *("id", "object", "status", "request", "progress", "queue", "images", "warnings", "error"),
        *("timings", "worker", "attempts", "memory", "priority", "tags", "metadata", "parent_id"),
        "starred",
        *("batch_id", "ttl_s", "webhook"),
        *("created_at", "started_at", "finished_at", "expires_at", "urls"),
    }
    assert shown["created_at"].endswith("Z")
    assert shown["urls"]["self"] == "/api/v1/jobs/job_1"
