"""Whatever is sent, the answer is a job or a problem document, never a fault of ours."""

import json

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.request import ImageToImage
from darkroom.validation import JobOptions

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
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bodies, ascii=st.booleans())
def test_any_json(api, redis, body, ascii):
    redis.delete("darkroom:queues")  # a full queue would hide the rest
    raw = json.dumps(body, ensure_ascii=ascii).encode(errors="surrogatepass")
    check(api.post("/api/v1/jobs", content=raw, headers={"Content-Type": "application/json"}))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        document = response.json()
        assert document["status"] == response.status_code
        for error in document["errors"]:
            assert error["pointer"] == "" or error["pointer"].startswith("/")
