import pytest
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from darkroom import errors
from darkroom.errors import DarkroomError, JobFailure, QueueFullError
from darkroom.field_errors import CODES
from darkroom.settings import Settings
from service.app import create_app
from service.errors import RETRY_AFTER_S, STATUS, Fault

JOB = "/api/v1/jobs/job_" + "0" * 32


def every(cls: type) -> list[type]:
    return [cls, *(below for sub in cls.__subclasses__() for below in every(sub))]


def status_of(cls: type[DarkroomError]) -> int | None:
    return next((STATUS[base] for base in cls.__mro__ if base in STATUS), None)


def test_every_error_a_request_can_meet_has_a_status():
    own = [cls for cls in every(DarkroomError) if cls.__module__ == errors.__name__]
    without = {cls for cls in own if status_of(cls) is None}
    assert without == {DarkroomError, *(cls for cls in every(JobFailure) if cls in own)}


@pytest.mark.parametrize("cls", [c for c in every(DarkroomError) if status_of(c)])
def test_what_may_be_tried_again_says_when(cls):
    assert cls.retryable is (status_of(cls) in RETRY_AFTER_S)


def write_otherwise(http: Request, fault: Fault) -> Response:
    """As an API does that has a shape of its own."""
    wrong = {"message": fault.detail, "kind": fault.code, "path": http.url.path}
    return JSONResponse({"wrong": wrong}, fault.status)


@pytest.fixture
def dialects(models_toml, tmp_path) -> TestClient:
    """The API, and beside it one with errors of its own."""
    router = APIRouter(prefix="/other")

    @router.get("/{what}")
    async def fail(what: str, size: int = 0) -> None:  # noqa: ARG001
        raise {
            "full": QueueFullError("All is full."),
            "media": HTTPException(415, "Send JSON."),
            "ours": RuntimeError("s3cret"),
        }[what]

    redis_url = f"unix://{tmp_path}/none"
    settings = Settings(_env_file=None, models=models_toml, redis_url=redis_url, max_body_mb=0.001)
    app = create_app(settings)
    app.state.writers = {"/other": write_otherwise}
    app.include_router(router)
    return TestClient(app, base_url="http://localhost")


@pytest.mark.parametrize(
    ("asked", "status", "kind", "message"),
    [
        ("full", 429, "queue_full", "All is full."),
        ("media", 415, "unsupported_media_type", "Send JSON."),
        ("full?size=x", 422, "invalid_parameters", "/query/size: "),
        ("ours", 500, "internal", "quote the request_id"),
    ],
)
def test_an_api_may_write_errors_in_its_own_way(dialects, asked, status, kind, message):
    response = dialects.get(f"/other/{asked}")
    assert (response.status_code, response.json()["wrong"]["kind"]) == (status, kind)
    assert message in response.json()["wrong"]["message"]
    assert response.json()["wrong"]["path"] == f"/other/{asked}".partition("?")[0]
    assert response.headers["cache-control"] == "no-store"
    assert ("retry-after" in response.headers) is (status in RETRY_AFTER_S)
    assert "s3cret" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "headers", "kind"),
    [
        ("GET", "/other", {}, "not_found"),
        ("GET", "/other/a/b", {}, "not_found"),
        ("BREW", "/other/full", {}, "method_not_allowed"),
        ("POST", "/other/full", {"Content-Length": "9999"}, "payload_too_large"),
        ("POST", "/other/full", {"Origin": "http://evil.example"}, "cross_site"),
        ("GET", "/other/full", {"Host": "evil.example"}, "misdirected_request"),
    ],
)
def test_so_it_may_what_no_route_of_it_raises(dialects, method, path, headers, kind):
    response = dialects.request(method, path, headers=headers)
    assert response.json()["wrong"]["kind"] == kind


def test_other_routes_go_on_to_write_problems(dialects):
    for path, code in (("/others/a", "not_found"), ("/api/v1/jobs/x", "job_not_found")):
        response = dialects.get(path)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == code


@pytest.mark.parametrize(
    ("path", "headers", "pointer", "detail"),
    [
        ("/api/v1/jobs?limit=x", {}, "/query/limit", "Must be a whole number."),
        ("/api/v1/jobs?limit=0", {}, "/query/limit", "Must be at least 1."),
        ("/api/v1/jobs?limit=101", {}, "/query/limit", "Must be at most 100."),
        ("/api/v1/jobs?limit=" + "9" * 5000, {}, "/query/limit", "Is too large."),
        ("/api/v1/jobs?status=done", {}, "/query/status", "Must be 'queued', 'running', "),
        ("/api/v1/jobs?tag=" + "x" * 65, {}, "/query/tag", "May have at most 64 characters."),
        ("/api/v1/jobs?cursor=0", {}, "/query/cursor", "Must be the `next_cursor` of the page"),
        ("/api/v1/models/" + "x" * 201, {}, "/path/model_id", "May have at most 200 characters."),
        (f"{JOB}/events?after=x", {}, "/query/after", "Must be the `id` of an event"),
        (f"{JOB}/events", {"Last-Event-ID": "x"}, "/header/last-event-id", "Must be the `id` of"),
    ],
)
def test_parameters_are_refused_in_our_words(api, path, headers, pointer, detail):
    response = api.get(path, headers=headers)
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)
    assert error["code"] in CODES


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", "/api/v1/nothing", "There is no such path; GET / says where everything is."),
        ("PUT", "/api/v1/jobs", "The path has no such method; the header Allow names those"),
    ],
)
def test_what_no_route_takes_is_told_in_a_sentence(api, method, path, told):
    problem = api.request(method, path).json()
    assert problem["detail"].startswith(told)


def test_a_key_of_another_form_is_refused_in_our_words(api):
    for key in ("a b", "\xe9", "x" * 256, ""):
        response = api.post("/api/v1/jobs", json={}, headers={"Idempotency-Key": key.encode()})
        [error] = response.json()["errors"]
        assert error["detail"] == "Must be 1 to 255 visible ASCII characters, without blanks."


@pytest.mark.parametrize(("path", "hopeful"), [("/api/v1/models/pics", False), ("/readyz", True)])
def test_a_problem_says_whether_a_repeat_can_help(dialects, path, hopeful):
    problem = dialects.get(path).json()
    assert problem["retryable"] is hopeful
