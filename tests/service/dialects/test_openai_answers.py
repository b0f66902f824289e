"""Jobs and errors as the OpenAI Images API writes them; routes/test_openai.py reads them."""

import json
from datetime import UTC, datetime

import pytest
from fastapi import Request
from openai.types import ImageEditPartialImageEvent, ImagesResponse

from darkroom import quality
from darkroom.errors import FieldError
from darkroom.job import Job, JobError
from service.dialects.openai_answers import failure, images_body, partial_event, write_error
from service.dialects.openai_requests import asked_of
from service.errors import Fault

IMAGE = {"id": f"img_{'0' * 32}", "url": "/x", "width": 8, "height": 4, "seed": 1, "bytes": 1}
WITHHELD = IMAGE | {"url": None, "bytes": None, "sha256": None, "flagged": True}


def job(status, *images, **more):
    shown = [{"sha256": "0" * 64} | each for each in images]
    created = datetime(2026, 1, 1, tzinfo=UTC)
    fields = {"id": "job_1", "status": status, "request": {}, "created_at": created}
    return Job.model_validate(fields | {"images": shown} | more)


DONE = job("succeeded", IMAGE, request={"width": 64, "height": 32})


def error_of(fault):
    response = write_error(Request({"type": "http"}), fault)
    return response.status_code, json.loads(response.body)["error"]


def test_what_is_said_of_pictures():
    asked = asked_of({"quality": "standard"}, needs_prompt=False)
    body = images_body(asked, job("succeeded", WITHHELD, IMAGE, warnings=["Hm."]), [{"url": "u"}])
    assert body == {
        "created": 1767225600,
        "size": "8x4",
        "output_format": "png",
        "background": "opaque",
        "data": [{"url": "u"}],
        "quality": "medium",
        "warnings": ["Hm.", "1 of 2 pictures were withheld."],
    }


@pytest.mark.parametrize("word", quality.WORDS)
def test_a_quality_is_one_that_clients_know_or_left_out(word):
    asked = asked_of({"quality": word}, needs_prompt=False)
    told = images_body(asked, job("succeeded", IMAGE), [])
    ImagesResponse.model_validate(told, strict=True)
    assert ("quality" in told) is (word != "auto")
    event = json.loads(partial_event("image_edit", asked, DONE, 0, "").split(b"data: ")[1])
    ImageEditPartialImageEvent.model_validate(event, strict=True)


def test_the_size_of_an_early_picture_may_be_unknown_still():
    unknown = DONE.model_copy(update={"request": {"width": None, "height": None}})
    told = partial_event("image_generation", asked_of({}, needs_prompt=False), unknown, 0, "")
    assert json.loads(told.split(b"data: ")[1])["size"] == "auto"


@pytest.mark.parametrize(
    ("ended", "status", "code"),
    [
        (job("succeeded", WITHHELD), 400, "content_filtered"),
        (job("canceled"), 409, "canceled"),
        (job("failed", error=JobError(code="poison", message="m")), 500, "generation_failed"),
        (job("failed", error=JobError(code="unsupported", message="m")), 400, "invalid_value"),
    ],
)
def test_why_a_job_brings_no_picture(ended, status, code):
    fault = failure(ended)
    assert fault
    assert (fault.status, fault.code, bool(fault.detail)) == (status, code, True)


def test_a_job_that_brings_one():
    assert failure(job("succeeded", IMAGE)) is None


@pytest.mark.parametrize(
    ("status", "code", "told", "kind", "word"),
    [
        (401, "unauthenticated", 401, "authentication_error", "invalid_api_key"),
        (404, "model_not_found", 404, "invalid_request_error", "model_not_found"),
        (422, "idempotency_mismatch", 400, "invalid_request_error", "idempotency_mismatch"),
        (429, "queue_full", 429, "rate_limit_error", "queue_full"),
        (500, "internal", 500, "server_error", "internal"),
    ],
)
def test_errors(status, code, told, kind, word):
    expected = {"message": "m", "type": kind, "param": None, "code": word}
    assert error_of(Fault(status, code, "m")) == (told, expected)


@pytest.mark.parametrize(
    ("pointer", "param"),
    [
        ("/num_images", "n"),
        ("/width", "size"),
        ("/images/3", "image"),
        ("/mask_image", "mask"),
        ("/output/format", "output_format"),
        ("/output/quality", "output_compression"),
        ("/header/idempotency-key", "idempotency-key"),
        ("/task", "model"),
        ("", None),
    ],
)
def test_fields_are_named_as_clients_know_them(pointer, param):
    fault = Fault(422, "invalid_parameters", "m", errors=[FieldError(pointer, "Wrong.", "invalid")])
    status, error = error_of(fault)
    assert (status, error["param"], error["code"]) == (400, param, "invalid_value")
    assert error["message"].endswith("Wrong.")


def test_what_is_wrong_with_both_sides_is_told_once():
    errors = [FieldError(side, "Too small.", "invalid") for side in ("/width", "/height")]
    fault = Fault(422, "invalid_parameters", "No.", errors=errors)
    assert error_of(fault)[1]["message"] == "size: Too small."
