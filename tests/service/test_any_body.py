"""Whatever is sent, the answer is a job or a problem document, never a fault of ours."""

import copy
import json

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom import field_errors
from darkroom.codes import CODES
from darkroom.job_options import JobOptions
from darkroom.request import ImageToImage

FIELDS = sorted({*ImageToImage.model_fields, *JobOptions.model_fields, "nope", "x~/y"} - {"prompt"})

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-5, 300),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from([2**63, 10**400, -(2**64), 1e308, "\0", "\ud800", "file_", "data:", "pix"]),
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
bodies = st.one_of(
    anything,
    st.fixed_dictionaries({"prompt": st.just("a cat")}, optional=dict.fromkeys(FIELDS, anything)),
    st.fixed_dictionaries({"prompt": st.just("a cat")}, optional=dict.fromkeys(FIELDS, scalars)),
)


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bodies, ascii=st.booleans())
def test_any_json(api, redis, body, ascii):
    redis.delete("darkroom:queues")  # a full queue would hide the rest
    raw = json.dumps(body, ensure_ascii=ascii).encode(errors="surrogatepass")
    check(api.post("/api/v1/jobs", content=raw, headers={"Content-Type": "application/json"}))


WHOLE = {
    "prompt": "a cat",
    "negative_prompt": "",
    "width": 64,
    "num_inference_steps": 2,
    "guidance_scale": 7.5,
    "seed": 7,
    "scheduler": "Euler",
    "scheduler_options": {"sigmas": "karras", "timestep_spacing": None},
    "output": {"format": "png", "quality": 90, "metadata": "full"},
    "num_images": 2,
    "tags": ["a"],
    "metadata": {"a": "b"},
    "deadline_s": 60,
}
ODD = st.sampled_from(
    [
        *(0, -1, 1.0, -0.0, 2**53 - 1, 2**53, 2**63, 10**99, None, True),
        *("", " ", "a\r\nb", "\r", "\u2028", "\x85", "\u202e", "\ufeff", "\uffff", "😀" * 64),
        *([], {}, [None], {"": None}),
    ]
)


@st.composite
def nearly_right(draw) -> dict:
    """A body that is right but for what stands in up to three places of it."""
    body = copy.deepcopy(WHOLE)
    for _ in range(draw(st.integers(0, 3))):
        place = body
        while True:
            key = draw(st.sampled_from(sorted(place)))
            if not isinstance(place[key], dict) or not place[key] or draw(st.booleans()):
                break
            place = place[key]
        place[key] = draw(ODD | scalars | anything)
    return body


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=nearly_right(), ascii=st.booleans())
def test_what_is_taken_is_taken_again_as_it_is(api, redis, body, ascii):
    redis.delete("darkroom:queues")
    raw = json.dumps(body, ensure_ascii=ascii).encode(errors="surrogatepass")
    response = api.post("/api/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    check(response)
    if response.status_code == 202:
        job = response.json()
        options = {name: job[name] for name in ("tags", "metadata", "priority")}
        again = api.post("/api/v1/jobs", json=job["request"] | options)
        assert again.status_code == 202, again.text
        assert again.json()["request"] == job["request"]
        assert {name: again.json()[name] for name in options} == options


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    query=st.dictionaries(
        st.sampled_from(["status", "model", "tag", "limit", "cursor", "wait", "after"]),
        st.text(max_size=20) | st.integers().map(str),
    ),
    name=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
)
def test_any_query_and_any_id(api, query, name):
    safe = httpx2.QueryParams({k: v.encode(errors="replace").decode() for k, v in query.items()})
    check(api.get("/api/v1/jobs", params=safe))
    for kind in ("jobs", "images", "models"):
        check(api.get(f"/api/v1/{kind}/{quoted(name)}", params=safe))


def quoted(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode())


def check(response: httpx2.Response) -> None:
    assert response.status_code < 500, response.text
    assert len(response.content) < 64 * 2**10
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        document = response.json()
        assert document["status"] == response.status_code
        assert document["code"] in CODES
        for error in document["errors"]:
            assert error["code"] in field_errors.CODES
            assert error["pointer"] == "" or error["pointer"].startswith("/")
