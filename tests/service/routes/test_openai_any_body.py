"""Whatever is sent to the OpenAI Images API, the answer is an error in its shape, never a fault of
ours. What is right is refused as well here, since the key has its job already."""

import json

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.dialects.openai_requests import Asked
from tests.service.conftest import bearer, png
from tests.service.test_any_body import anything, scalars

FIELDS = sorted({*Asked.model_fields, "image", "images", "mask", "markup", "user"} - {"prompt"})
RIGHT = {
    "n": 2,
    "size": "64x64",
    "quality": "hd",
    "stream": True,
    "partial_images": 3,
    "output_format": "webp",
    "output_compression": 0,
    "images": [{"image_url": "data:image/png;base64,AAAA"}],
}
PROMPT = {"prompt": st.text(max_size=9) | st.just("a cat")}
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
bodies = st.one_of(
    anything,
    st.fixed_dictionaries(PROMPT, optional=dict.fromkeys(FIELDS, scalars)),
    st.fixed_dictionaries(
        PROMPT,
        optional={
            name: st.just(RIGHT[name]) | anything if name in RIGHT else anything for name in FIELDS
        },
    ),
)
forms = st.dictionaries(
    st.sampled_from([*FIELDS, "prompt", "image[]", "image[0]", "x"]),
    texts | st.integers().map(str) | st.sampled_from(["64x64", "true", "[]", "{", "nan", "file_"]),
    max_size=6,
)
many = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def busy(http, made):
    """Who has as many jobs as their key may have."""
    headers = bearer(made(max_active=1))
    assert http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers).status_code == 202
    return headers


@pytest.fixture
def send(http, busy):
    """Sends a request, and returns the error that comes."""

    def send(path: str, **sent: object) -> dict:
        headers = busy | sent.pop("headers", {})
        answer: httpx2.Response = http.post(f"/v1/images/{path}", headers=headers, **sent)
        assert answer.status_code in (400, 404, 413, 429), answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        kind = "rate_limit_error" if answer.status_code == 429 else "invalid_request_error"
        assert (error["type"], bool(error["message"]), bool(error["code"])) == (kind, True, True)
        assert answer.headers["x-request-id"]
        assert len(answer.content) < 64 * 2**10
        return error | {"retry": answer.headers.get("retry-after")}

    return send


@many
@given(path=st.sampled_from(["generations", "edits", "variations"]), body=bodies)
def test_any_json(send, path, body):
    raw = json.dumps(body).encode()
    send(path, content=raw, headers={"Content-Type": "application/json"})


@many
@given(path=st.sampled_from(["edits", "variations"]), form=forms, name=st.text(max_size=9))
def test_any_form(send, path, form, name):
    named = "".join(each for each in name if each.isprintable() and each.isascii()) or "image"
    send(path, data=form, files={named: ("cat.png", png())})


def test_what_is_right_is_refused_for_the_limit_alone(send):
    """Or the tests above would show nothing of it."""
    asked = {"prompt": "a cat", **RIGHT}
    del asked["images"]
    error = send("generations", json=asked)
    assert (error["code"], error["retry"]) == ("too_many_active_jobs", "5")
    error = send("edits", data={"prompt": "a cat"}, files={"image": ("cat.png", png())})
    assert error["code"] == "too_many_active_jobs"
