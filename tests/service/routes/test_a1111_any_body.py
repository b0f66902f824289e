"""Whatever is sent to AUTOMATIC1111's API, the answer is an error in its shape, never a fault of
ours. What is right is refused as well here, since the key has its job already."""

import json

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.dialects.a1111_requests import Asked
from tests.service.conftest import bearer
from tests.service.test_any_body import anything, scalars

FIELDS = sorted({*Asked.model_fields, "image", "imageList", "upscaler_1", "resize_mode"})
bodies = st.one_of(
    anything,
    st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, scalars)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything)),
)
PATHS = ("txt2img", "img2img", "extra-single-image", "extra-batch-images", "png-info", "options")


@pytest.fixture
def send(http, made):
    """Sends a request with a key that has as many jobs as it may have."""
    headers = bearer(made(max_active=1)) | {"Content-Type": "application/json"}
    first = http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers)
    assert first.status_code == 202

    def send(path: str, body: object) -> httpx2.Response:
        raw = json.dumps(body).encode()
        answer: httpx2.Response = http.post(f"/sdapi/v1/{path}", content=raw, headers=headers)
        assert answer.status_code < 500, answer.text
        assert len(answer.content) < 64 * 2**10
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "detail", "body", "errors"}
        else:
            assert path in ("options", "png-info"), answer.text
        return answer

    return send


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), body=bodies)
def test_any_json(send, path, body):
    send(path, body)


def test_what_is_right_is_refused_for_the_limit_alone(send):
    """Or the test above would show nothing of it."""
    assert (
        send("txt2img", {"prompt": "a cat", "steps": 4}).json()["error"] == "too_many_active_jobs"
    )
