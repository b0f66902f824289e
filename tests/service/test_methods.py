"""HEAD, OPTIONS and `Allow` of every path there is, and the slash at its end."""

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from service.methods import allowed_methods
from tests.waiting import until

GIVEN = {
    "{job_id}": "job_" + "0" * 32,
    "{job_id:job}": "job_" + "0" * 32,
    "{image_id}": "img_" + "0" * 32,
    "{model_id:path}": "pix",
    ":{method}": ":predict",
}
GIVEN["{file_id}"] = f"file_{'0' * 64}"


@pytest.fixture
def routes(served):
    """All paths with the methods of their routes; names filled in."""
    found: dict[str, set[str]] = {}
    for each in iter_route_contexts(served.server.config.app.routes):
        path = each.path
        for name, value in GIVEN.items():
            path = path.replace(name, value)
        found.setdefault(path, set()).update(each.methods)
    for path, methods in found.items():  # a colon may belong to the name of a model
        methods |= found.get(path.removesuffix(":predict"), set())
    return found


def same(head: httpx2.Response, got: httpx2.Response) -> None:
    """HEAD says what GET says, but for the time and the ids of the two requests."""
    assert (head.status_code, head.content) == (got.status_code, b"")
    of_now = ("date", "x-request-id", "transfer-encoding")
    for each in (head, got):
        for name in of_now:
            each.headers.pop(name, None)
    if got.headers.get("content-type") == "application/problem+json":
        got.headers.pop("content-length")  # holds the request's id
        head.headers.pop("content-length")
    assert dict(head.headers) == dict(got.headers)


def test_every_path_that_has_get_has_head(api, routes, announced):
    announced(serves=("pix", "other"))
    paths = [path for path, methods in routes.items() if "GET" in methods]
    assert len(paths) > 12
    for path in paths:
        head = api.head(path)
        if path == "/api/v1/events":  # GET does not end
            assert (head.status_code, head.content) == (200, b"")
            continue
        got = api.get(path)
        if path == "/metrics":  # counts requests
            assert (head.status_code, head.content) == (200, b"")
        else:
            same(head, got)


def test_the_head_of_a_job_and_of_its_picture(api, submitted, work):
    submitted()
    job = work.all()
    for path in (job.urls.self_, job.images[0].url):
        same(api.head(path), api.get(path))
    assert api.head(job.images[0].url, headers={"Range": "bytes=0-1"}).status_code == 200


def test_the_head_of_a_stream_comes_at_once(api, submitted, here):
    """Nobody follows the job afterwards: the stream itself would go on until its end."""
    job, before = submitted(), here.feed.waiters
    head = api.head(job["urls"]["events"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    until(lambda: here.feed.waiters <= before)


def test_every_path_tells_all_its_methods(api, routes):
    for path, own in routes.items():
        also = {"HEAD", "OPTIONS"} if "GET" in own else {"OPTIONS"}
        told = ", ".join(sorted(own | also))
        asked = api.options(path)
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["allow"] == told
        for method in {"DELETE", "GET", "PATCH", "POST", "PUT", "TRACE", "BREW"} - own:
            refused = api.request(method, path)
            assert (refused.status_code, refused.headers["allow"]) == (405, told), (method, path)
            if path.startswith("/api"):  # other APIs have other shapes
                assert refused.json()["code"] == "method_not_allowed"


def test_the_path_of_batches_is_no_job(api):
    for method in ("GET", "HEAD", "DELETE", "PATCH"):
        refused = api.request(method, "/api/v1/jobs/batch")
        assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, POST")
    assert api.get("/api/v1/jobs/batches").json()["code"] == "job_not_found"


def test_the_head_of_what_cannot_be_got(api, submitted):
    refused = api.head(submitted()["urls"]["cancel"])
    assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, POST")


def test_options_of_nothing_is_not_found(api):
    assert api.options("/nowhere").status_code == 404


def test_options_of_the_server_as_a_whole(served):
    scope = {"type": "http", "path": "*", "app": served.server.config.app}
    assert allowed_methods(scope) == ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


def test_a_slash_at_the_end_changes_nothing(api, submitted):
    job = submitted()
    assert api.get("/api/v1/jobs/?limit=5").json()["data"][0]["id"] == job["id"]
    assert api.get(job["urls"]["self"] + "/").json()["id"] == job["id"]
    assert api.post("/api/v1/jobs/", json={"prompt": "a cat"}).status_code == 202
    assert api.get("/api/v1/models/").json()["object"] == "list"
    assert api.get("/api/v1/models/pix/").json()["id"] == "pix"
    assert api.delete(job["urls"]["self"] + "/").status_code == 204


def test_no_slash_is_dropped_outside_of_the_api(api):
    """A proxy may forbid `/metrics` by just this path."""
    for path in ("/metrics/", "/api/v1/jobs//", "//api/v1/jobs"):
        assert api.get(path).status_code == 404
