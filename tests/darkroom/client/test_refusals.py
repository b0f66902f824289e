"""What is made of an answer that refuses; answers over a wire are in test_client.py."""

import httpx2
import pytest

from darkroom.client.refusals import RefusedError, of_code, refusal
from darkroom.errors import (
    DarkroomError,
    InvalidRequestError,
    JobFailure,
    ModelNotFoundError,
    NotFoundError,
    OverloadError,
    QueueFullError,
)
from darkroom.webhook import WebhooksOffError
from service.problems import TOLD, example

ASKED = httpx2.Request("POST", "http://127.0.0.1:8000/api/v1/jobs")


def answer(status: int, **options: object) -> httpx2.Response:
    return httpx2.Response(status, request=ASKED, **options)


def refused(code: str, **more: object) -> RefusedError:
    return refusal(answer(TOLD[code].status, json=example(code) | more))


@pytest.mark.parametrize("code", TOLD)
def test_every_problem_is_told(code):
    error = refused(code)
    assert (error.code, error.status) == (code, TOLD[code].status)
    assert error.retryable is example(code)["retryable"]
    assert error.request_id.startswith("req_")
    assert str(error) == TOLD[code].detail or code == "not_found"


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        ("queue_full", (QueueFullError, OverloadError)),
        ("model_not_found", (ModelNotFoundError, NotFoundError)),
        ("invalid_parameters", (InvalidRequestError,)),
        ("webhooks_off", (WebhooksOffError,)),
    ],
)
def test_it_is_of_the_class_that_has_its_code(code, kinds):
    error = refused(code)
    assert all(isinstance(error, kind) for kind in (*kinds, RefusedError, DarkroomError))
    assert f"{type(error).__name__}: {error}" == f"{kinds[0].__name__}: {TOLD[code].detail}"


def test_a_code_that_no_class_has_is_a_refusal():
    assert type(refused("precondition_failed")) is RefusedError
    assert type(refused("internal")) is RefusedError
    assert not isinstance(of_code("internal", DarkroomError)("x"), JobFailure)


def test_a_problem_tells_fields_names_and_jobs():
    assert refused("invalid_parameters").errors[0].pointer == "/num_inference_steps"
    assert refused("model_not_found").near == ("emoji",)
    assert refused("picture_not_ready").job_id.startswith("job_")


def test_it_says_when_to_come_again():
    problem, headers = {"code": "queue_full", "title": "Queue full"}, {"Retry-After": "5"}
    assert refusal(answer(429, json=problem, headers=headers)).retry_s == 5
    assert refusal(answer(429, json=problem, headers={"Retry-After": "soon"})).retry_s is None


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"title": "x", "errors": [1]}'])
def test_what_is_no_problem_is_told_as_that(body):
    error = refusal(answer(502, text=body))
    assert "answered 502 Bad Gateway, and not as a Darkroom does" in str(error)
    assert (error.code, error.retryable) == ("http_error", True)
    assert not refusal(answer(500, text=body)).retryable


def test_who_has_a_key_that_is_refused_is_told_where_it_came_from():
    no_key = answer(401, json=example("unauthenticated"))
    assert "that was sent" not in str(refusal(no_key))
    told = str(refusal(no_key, "/var/lib/darkroom/first-key"))
    assert told.endswith("The key that was sent is from /var/lib/darkroom/first-key.")


def test_a_path_that_is_none_is_told_with_the_address():
    assert "http://127.0.0.1:8000/api/v1/jobs is no path of a Darkroom" in str(refused("not_found"))
