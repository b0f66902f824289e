"""Courses, gone by hand: what is asked, how long is waited, what is told."""

import pytest
from httpx2 import Request, Response

from darkroom.client import calls, courses
from darkroom.client.calls import Call
from darkroom.client.courses import Patience, Pause, Tell, go_on, patiently
from darkroom.client.refusals import (
    ConnectionLostError,
    NoServiceError,
    RefusedError,
    UnreachableError,
    refusal,
)
from darkroom.job import Job, JobStatus
from darkroom.kept_file import KeptFile
from tests.scripted import Answer, batch, job

LOST = ConnectionLostError("It broke.")
FULL = RefusedError("Full.", code="queue_full", status=429, retry_s=5, problem={"retryable": True})
WRONG = RefusedError("No.", code="invalid_parameters", status=422)


def answer(scripted=None, status=200, **headers):
    """What a driver sends in, of an answer as `tests.scripted` has it."""
    asked = Request("GET", "http://127.0.0.1/x")
    if scripted is None:
        return Response(status, request=asked, headers=headers)
    return Response(200, content=scripted.data, headers=scripted.headers, request=asked)


def gone(course, *outcomes):
    """The steps of a course with these outcomes of its calls, and what it returns or raises."""
    left, steps = list(outcomes), []
    try:
        step = next(course)
        while True:
            steps.append(step)
            step = go_on(course, left.pop(0) if isinstance(step, Call) else None)
    except StopIteration as done:
        assert not left
        return steps, done.value
    except (RefusedError, NoServiceError) as error:
        assert not left
        return steps, error


def pauses(steps):
    return [step.seconds for step in steps if isinstance(step, Pause)]


def told(steps):
    return [step.value for step in steps if isinstance(step, Tell)]


def test_what_may_pass_is_asked_again_with_the_same_key():
    call = calls.submit({"prompt": "cat"}, None)
    steps, made = gone(patiently(call, Patience(60)), LOST, LOST, FULL, answer(job()))
    assert made.id == "job_1"
    assert pauses(steps) == [0.5, 1.0, 5]
    assert [step for step in steps if isinstance(step, Call)] == [call] * 4
    assert call.options["headers"]["Idempotency-Key"]


def test_the_keys_of_two_submissions_differ():
    one, two = (calls.submit({}, None).options["headers"] for _ in range(2))
    assert one != two
    assert calls.submit({}, "mine").options["headers"] == {"Idempotency-Key": "mine"}


@pytest.mark.parametrize(
    ("error", "patience_s"),
    [
        (WRONG, 60),
        (FULL, 4),
        (LOST, 0),
        (UnreachableError("Nobody."), 60),
        (NoServiceError("Another."), 60),
    ],
)
def test_what_does_not_pass_or_takes_too_long_is_raised(error, patience_s):
    steps, raised = gone(patiently(calls.job("job_1"), Patience(patience_s)), error)
    assert raised is error
    assert pauses(steps) == []


def test_who_says_at_once_is_not_asked_at_once():
    now = refusal(answer(status=503, **{"Retry-After": "0"}))
    steps, _ = gone(patiently(calls.job("job_1"), Patience(60)), now, answer(job()))
    assert pauses(steps) == [0.1]


def test_what_a_repeat_could_do_twice_is_not_repeated():
    call = calls.ask("POST", "webhooks/secret", {})
    assert gone(patiently(call, Patience(60)), LOST) == ([call], LOST)


def test_what_was_deleted_by_a_try_that_got_lost_is_gone():
    missing = RefusedError("None.", code="job_not_found", status=404)
    assert gone(courses.delete("/x", Patience(60)), LOST, missing)[1] is None
    assert gone(courses.delete("/x", Patience(60)), missing)[1] is missing
    assert gone(courses.delete("/x", Patience(60)), answer(status=204))[1] is None


def test_waiting_ends_with_the_job():
    steps, ended = gone(
        courses.wait("job_1", None, 60), answer(job()), answer(job(JobStatus.FAILED))
    )
    assert ended.status is JobStatus.FAILED
    assert [step.options["params"] for step in steps[::2]] == [{"wait": 20}] * 2


def test_waiting_ends_in_time():
    course = courses.wait("job_1", 0, 60)
    assert next(course).options == {}
    with pytest.raises(TimeoutError, match="job_1 is queued after 0 s"):
        course.send(answer(job()))


def test_each_change_of_a_job_is_told_once():
    states = job(etag="1"), job(JobStatus.RUNNING, "2"), job(JobStatus.SUCCEEDED, "3")
    first, second, third = map(answer, states)
    course = courses.follow("job_1", 60)
    steps, _ = gone(course, first, answer(status=304), second, LOST, third)
    assert [each.status for each in told(steps)] == ["queued", "running", "succeeded"]
    asked = [step.options.get("headers", {}) for step in steps if isinstance(step, Call)]
    assert [each.get("If-None-Match") for each in asked] == [None, "1", "1", "2", "2"]


def test_a_service_that_does_not_hold_back_is_not_asked_without_a_pause():
    states = answer(job(etag="1")), answer(job(etag="1")), answer(job(JobStatus.CANCELED))
    assert pauses(gone(courses.follow("job_1", 60), *states)[0]) == [0.2]


def test_a_batch_is_followed_past_jobs_that_are_deleted():
    missing = RefusedError("None.", code="job_not_found", status=404)
    first, last = batch(JobStatus.RUNNING), batch(None)
    steps, _ = gone(courses.follow_batch("batch_1", 60), answer(first), missing, answer(last))
    assert [each.done for each in told(steps)] == [False, True]
    steps, raised = gone(courses.follow_batch("batch_1", 60), answer(first), WRONG)
    assert raised is WRONG


def test_pages_are_turned_until_there_are_enough():
    entry = job().body
    pages = (
        Answer({"data": [entry] * 100, "next_cursor": "7"}),
        Answer({"data": [entry] * 20, "next_cursor": "8"}),
    )
    course = courses.pages(Job, "/api/v1/jobs", {"status": None, "model": "pix"}, 120, 60)
    steps, _ = gone(course, *map(answer, pages))
    asked = [dict(step.options["params"]) for step in steps if isinstance(step, Call)]
    assert len(told(steps)) == 120
    assert asked[1] == {"model": "pix", "limit": 20, "cursor": "7"}


def test_a_list_of_no_entries_is_not_asked_for():
    assert gone(courses.pages(KeptFile, "/api/v1/files", {}, 0, 60)) == ([], None)
