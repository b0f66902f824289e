"""Both clients of our own against a real service; before a scripted one in
tests/darkroom/client/test_client.py."""

import pytest

from darkroom import Client
from darkroom.client import NoPicturesError, RefusedError
from darkroom.errors import (
    InvalidRequestError,
    JobNotFoundError,
    ModelNotFoundError,
    SafetyBlockedError,
    UnauthenticatedError,
)
from darkroom.job import JobError, JobStatus
from tests.blocking import Blocking
from tests.service.conftest import png
from tests.service.masks import corner_png


@pytest.fixture(params=[Client, Blocking])
def client(request, served, here):  # noqa: ARG001
    with request.param(served.url, patience_s=0) as client:
        yield client


def test_from_a_prompt_to_files(client, work, background):
    job = client.submit(prompt="a cat", model="pix", num_images=2, priority="high", tags=["x"])
    assert (job.status, job.priority, job.tags) == (JobStatus.QUEUED, "high", ["x"])
    background(work.all)
    first, second = client.images(job)
    assert first.data.startswith(b"\x89PNG")
    assert (first.record.seed + 1, first.record.bytes) == (second.record.seed, len(first.data))
    assert client.wait(job, timeout_s=0).status is JobStatus.SUCCEEDED


def test_events_tell_what_happens_and_go_on_behind_the_last_one(client, work):
    job = client.submit({"prompt": "a cat"})
    work.all()
    events = list(client.events(job))
    assert [event.kind for event in events] == ["status", "status", "image", "done"]
    assert events[-1].data.job == client.job(job.id)
    assert [each.id for each in client.events(job.id, after=events[1].id)] == [
        each.id for each in events[2:]
    ]
    assert list(client.events(job, after=events[-1].id)) == []


def test_all_jobs_are_told_of_as_one_stream(client):
    job = client.submit(prompt="a cat")
    for event in client.events(after="0-0"):
        assert (event.kind, event.job_id) == ("status", job.id)
        break


def test_a_job_is_followed_while_it_runs(client, work, background):
    job = client.submit(prompt="a cat")
    background(work.all)
    states = [each.status for each in client.follow(job)]
    assert (states[0], states[-1]) == (JobStatus.QUEUED, JobStatus.SUCCEEDED)


def test_marks_retries_cancels_and_deletes(client):
    job = client.submit(prompt="a cat", seed=3)
    assert client.mark(job, {"starred": True, "tags": ["poster"]}).starred
    other = client.retry(job, seed=None, prompt="a dog")
    assert (other.parent_id, other.request["prompt"]) == (job.id, "a dog")
    assert {each.id for each in client.jobs()} == {job.id, other.id}
    assert [each.id for each in client.jobs(starred=True, q="CAT", limit=5)] == [job.id]
    assert client.cancel(job).status is JobStatus.CANCELED
    with pytest.raises(NoPicturesError, match="canceled"):
        next(client.images(job))
    client.delete(job)
    with pytest.raises(JobNotFoundError):
        client.job(job.id)


def test_a_repeat_with_ones_own_key_is_the_same_job(client):
    one, two = (client.submit(prompt="a cat", idempotency_key="mine") for _ in range(2))
    assert one.id == two.id
    assert client.submit(one.request).id != one.id


def test_a_failure_is_of_the_class_that_has_its_code(client, work):
    job = client.submit(prompt="a cat")
    work.finish(
        work.claim(), JobStatus.FAILED, error=JobError(code="safety_blocked", message="No.")
    )
    with pytest.raises(SafetyBlockedError, match=r"No\.") as raised:
        next(client.images(job))
    assert raised.value.job.id == job.id


def test_waiting_can_take_too_long(client):
    job = client.submit(prompt="a cat")
    with pytest.raises(TimeoutError, match="is queued after 0"):
        client.wait(job, timeout_s=0.05)


def test_what_is_wrong_is_told_field_by_field(client):
    with pytest.raises(InvalidRequestError) as raised:
        client.submit(prompt="a cat", width=7)
    assert (raised.value.errors[0].pointer, raised.value.status) == ("/width", 422)
    assert raised.value.request_id.startswith("req_")
    with pytest.raises(ModelNotFoundError) as raised:
        client.dry_run(prompt="a cat", model="pxi")
    assert raised.value.near == ("pix",)
    assert client.dry_run(prompt="a cat")["request"]["model"] == "pix"


def test_batches(client, work):
    batch = client.submit_batch({"prompt": "a cat", "grid": {"seed": [1, 2]}})
    work.all()
    assert client.cancel_batch(batch.id).counts.canceled == 1
    [done] = client.follow_batch(batch.id)
    assert (done.done, done.grid) == (True, {"seed": [1, 2]})
    listed = client.submit_batch({"jobs": [{"prompt": "a"}]})
    assert client.dry_run_batch({"jobs": [{"prompt": "a"}]})["object"] == "batch_dry_run"
    client.delete_batch(listed.id)
    with pytest.raises(RefusedError):
        client.batch(listed.id)


def test_files(client):
    data = png()
    file = client.put_file(data)
    assert client.put_file(data).id == file.id
    assert client.file_content(file.id).startswith(b"\x89PNG")
    assert [each.id for each in client.files()] == [file.id]
    assert list(client.files(limit=0)) == []
    job = client.submit(prompt="a cat", image=file.id)
    assert job.request["image"] == file.id
    client.delete_file(file.id)
    assert list(client.files()) == []


def test_a_file_is_read_as_what_it_is_said_to_be(client):
    assert client.put_file(corner_png(), "mask").kind == "mask"


def test_what_the_service_is_doing(client):
    assert client.ready()
    assert {each["id"] for each in client.models()} == {"pix", "other"}
    assert client.workers() == []
    assert client.switch_queue("pause", "pix")["models"] == ["pix"]
    assert client.queues()["paused"]["models"] == ["pix"]
    assert client.ask("GET", "styles")["object"] == "list"


def test_without_a_key_it_is_refused(guarded, redis):  # noqa: ARG001
    with Client(guarded.url) as client, pytest.raises(UnauthenticatedError) as raised:
        client.models()
    assert raised.value.status == 401
