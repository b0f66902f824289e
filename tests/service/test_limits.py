"""Limits on bodies, request ids, safe headers, the last handler."""

import errno
import logging
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

from darkroom.errors import DarkroomError, QueueUnavailableError
from service.errors import add_handlers
from service.limits import LastHandler, RequestContext
from tests.service.wire import JSON, PATIENCE_S, connected, head, one_answer, status_of

MIB = 2**20


@contextmanager
def captured() -> Iterator[list[Any]]:
    """All lines of the log, also those that are written while somebody looks for a fault alone."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with capture_logs() as lines:
        yield lines
    structlog.configure(wrapper_class=before)


def too_large(response: httpx2.Response) -> bool:
    assert response.headers["content-type"] == "application/problem+json"
    return (response.status_code, response.json()["code"]) == (413, "payload_too_large")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def chunks(total: int, sent: list[int]) -> Iterator[bytes]:
    chunk = b" " * MIB
    for _ in range(total // MIB):
        sent.append(MIB)
        yield chunk


def test_b1_a_declared_length_is_refused_before_a_byte_is_sent(served, redis):  # noqa: ARG001
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {300 * MIB}\r\n"
        connection.sendall((head + "Content-Type: application/json\r\n\r\n").encode())
        with connection.makefile("rb") as answers:
            answer = answers.read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"payload_too_large" in answer


def test_b1_a_huge_body_is_refused_without_being_read(api):
    for headers in ({}, {"Content-Length": str(300 * MIB)}):
        before, sent = peak_mib(), []
        response = api.post("/api/v1/jobs", content=chunks(300 * MIB, sent), headers=headers)
        assert too_large(response)
        assert sum(sent) < 30 * MIB
        assert peak_mib() - before < 50


def test_the_limit_holds_to_the_byte(api):
    body = b'{"prompt": "a cat", "image": "' + b"A" * (MIB - 32) + b'"}'
    headers = {"Content-Type": "application/json"}
    assert len(body) == MIB
    assert api.post("/api/v1/jobs", content=body, headers=headers).status_code == 422, "was read"
    assert too_large(api.post("/api/v1/jobs", content=body + b" ", headers=headers))
    assert too_large(api.post("/api/v1/jobs", content=iter([body, b" "]), headers=headers))


@pytest.mark.parametrize("length", ["-1", "x", "9" * 5000, "1e9"])
def test_lengths_that_cannot_be(served, redis, length):  # noqa: ARG001
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(4096).split()[1] in (b"400", b"413", b"415")


def test_g3_a_request_id_is_taken_over_or_made(api):
    def answered(given: str) -> str:
        return api.get("/livez", headers={"X-Request-Id": given}).headers["x-request-id"]

    assert answered("a.b-C_9") == "a.b-C_9"
    assert len({api.get("/livez").headers["x-request-id"] for _ in range(3)}) == 3
    for bad in ("", "a b", "x" * 65, "<script>", "a;b"):
        assert answered(bad) != bad


def test_g3_no_answer_takes_a_header_from_a_client(api, submitted):
    for _ in range(2):
        submitted(prompt="a\nX-Evil: 1")
    evil = "a%0D%0AX-Evil:%201"
    for path in ("jobs?limit=1&q=a%0AX-Evil", f"jobs?tag={evil}", f"jobs/{evil}", f"{evil}/"):
        answer = api.get(f"/api/v1/{path}")
        assert "x-evil" not in answer.headers
        assert answer.status_code in (200, 404, 422), path
    assert "%0AX-Evil" in api.get("/api/v1/jobs?limit=1&q=a%0AX-Evil").headers["link"]


def test_g3_every_answer_says_that_its_type_is_its_type(api):
    for path in ("/livez", "/nowhere", "/api/v1/jobs", "/docs", "/api/v1/images/x"):
        assert api.get(path).headers["x-content-type-options"] == "nosniff"


def test_g6_no_answer_about_a_key_or_its_service_is_kept_for_others(api):
    for path in ("me", "models", "queue", "styles"):
        assert api.get(f"/api/v1/{path}").headers["cache-control"] == "private, no-cache", path
    assert api.get("/api/v1/nowhere").headers["cache-control"] == "no-store"


@pytest.fixture
def faulty() -> TestClient:
    """The last handler around routes that fail."""
    app = FastAPI()
    app.add_middleware(LastHandler)
    app.add_middleware(RequestContext)

    @app.get("/bug")
    def bug() -> None:
        raise RuntimeError("a detail of ours")

    @app.get("/unknown")
    def unknown() -> None:
        raise DarkroomError("another")

    return TestClient(app)


def test_h3_what_nobody_expected_is_logged_and_answered_without_details(faulty):
    for path in ("/bug", "/unknown"):
        with captured() as lines:
            response = faulty.get(path, headers={"X-Request-Id": "r1"})
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert (response.json()["code"], response.json()["request_id"]) == ("internal", "r1")
        assert "detail of ours" not in response.text
        assert any(line["log_level"] == "error" for line in lines)


class Broken:
    """A middleware that fails, outside of the last handler."""

    def __init__(self, app: ASGIApp, error: Exception) -> None:  # noqa: ARG002
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        raise self.error


@pytest.mark.parametrize("outermost", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 503, "dependency_unavailable"),
        (OSError(errno.EMFILE, "Too many open files"), 503, "dependency_unavailable"),
        (MemoryError(), 503, "dependency_unavailable"),
        (RuntimeError("can't start new thread"), 503, "dependency_unavailable"),
        (FileNotFoundError(errno.ENOENT, "No such file"), 500, "internal"),
        (QueueUnavailableError("away"), 503, "queue_unavailable"),
    ],
)
def test_whatever_fails_is_a_problem_and_a_shortage_passes(error, status, code, outermost):
    app = FastAPI()
    add_handlers(app)
    if not outermost:
        app.add_middleware(Broken, error=error)
        app.add_middleware(LastHandler)
    app.add_middleware(RequestContext)
    if outermost:
        app.add_middleware(Broken, error=error)
    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert ("retry-after" in response.headers) is (status == 503)
    assert response.json()["retryable"] is (status == 503)


def test_h1_no_prompt_and_no_key_is_logged(served, here, serving, valkey, tmp_path):  # noqa: ARG001
    with captured() as lines:
        for body in (
            {"prompt": "s3cret"},
            {"prompt": "", "s3cret": 1},
            {"prompt": ["s3cret"]},
        ):
            headers = {"Idempotency-Key": "s3cret"}
            httpx2.post(served.url + "/api/v1/jobs", json=body, headers=headers)
        httpx2.get(served.url + "/api/v1/jobs/s3cret?tag=s3cret")
    assert lines
    assert "s3cret" not in str(lines)


def test_b1_all_bodies_under_way_are_bounded_together(serving, valkey, tmp_path, redis):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path, max_bodies_mb=1)
    begin = head("POST /api/v1/jobs HTTP/1.1", JSON, f"Content-Length: {MIB}")
    body = b" " * (MIB * 2 // 3)
    with connected(served.url) as first, connected(served.url) as second:
        first.sendall(begin + body)
        second.sendall(begin + body)
        ready, _, _ = select.select([first, second], [], [], PATIENCE_S)
        assert status_of(one_answer(ready[0])) == 503
    with connected(served.url) as third:
        third.sendall(begin + body + b" " * (MIB - len(body)))
        assert status_of(one_answer(third)) == 413  # there was room; so much text is refused
