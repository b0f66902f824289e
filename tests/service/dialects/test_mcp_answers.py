"""Jobs as tasks, and as sentences."""

from datetime import UTC, datetime, timedelta

import pytest

from darkroom.job import NO_WORKER, Job, JobStatus, Progress, QueuePlace
from service.dialects.mcp_answers import how_far, task_of

THEN = datetime(2026, 11, 27, 12, tzinfo=UTC)


def job(status=JobStatus.QUEUED, **more):
    return Job(id=f"job_{'0' * 32}", status=status, request={}, created_at=THEN, **more)


def test_a_job_that_waits_or_runs_is_a_task_that_works():
    place = QueuePlace(name="pix.normal", position=2, reason=NO_WORKER)
    waiting = task_of(job(queue=place))
    assert (waiting["taskId"], waiting["status"]) == (f"job_{'0' * 32}", "working")
    assert waiting["createdAt"] == waiting["lastUpdatedAt"] == "2026-11-27T12:00:00Z"
    assert waiting["ttlMs"] is None
    assert waiting["statusMessage"].startswith("queued, 2 jobs of its queue go first. No worker")
    begun = {"started_at": THEN + timedelta(seconds=1)}
    running = task_of(job(JobStatus.RUNNING, **begun))
    assert (running["status"], running["statusMessage"]) == ("working", "running")
    assert running["lastUpdatedAt"] == "2026-11-27T12:00:01Z"


@pytest.mark.parametrize(
    ("status", "becomes"),
    [
        (JobStatus.SUCCEEDED, "completed"),
        (JobStatus.FAILED, "completed"),
        (JobStatus.CANCELED, "cancelled"),
    ],
)
def test_a_job_that_has_ended(status, becomes):
    ended = {"finished_at": THEN, "expires_at": THEN + timedelta(minutes=1)}
    told = task_of(job(status, **ended))
    assert (told["status"], told["ttlMs"]) == (becomes, 60_000)
    assert ("statusMessage" in told) == (becomes == "cancelled")


def test_how_far_a_job_is():
    halfway = Progress(stage="denoise", step=5, steps=10)
    assert how_far(job(JobStatus.RUNNING, progress=halfway)) == "denoise, step 5 of 10"
    loading = Progress(stage="load", detail="the model pix", loaded=0.25)
    assert how_far(job(JobStatus.RUNNING, progress=loading)) == "load the model pix, 25%"
