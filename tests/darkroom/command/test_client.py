"""The client of the command line before a service that answers as it is told to."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

import pytest

from darkroom.command.client import Client, ClientError, ConnectionLostError, NoServiceError
from darkroom.job import JobStatus
from darkroom.ports import free_port

ELSEWHERE = " as a Darkroom does. Is the address right?"

BROKEN = None
"""In the place of an answer: the connection ends without one."""


@dataclass(frozen=True)
class Answer:
    body: Any = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]


class Service:
    """Gives the answers one after the other and keeps what it was asked. A context manager."""

    def __init__(self, *answers: Answer | None) -> None:
        left = iter(answers)
        asked: list[Asked] = []
        self.asked = asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.rfile.read(int(headers.get("content-length", 0)))
                asked.append(Asked(self.command, self.path, headers))
                if (answer := next(left)) is BROKEN:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 304:
                    self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def job(status: JobStatus = JobStatus.QUEUED, etag: str = "", **more: Any) -> Answer:
    body = {"id": "job_1", "status": status, "request": {}, "created_at": "2026-01-01T00:00:00Z"}
    return Answer({**body, **more}, headers={"ETag": etag} if etag else {})


def problem(status: int, *, headers: dict[str, str] | None = None, **document: Any) -> Answer:
    return Answer({"title": "Refused", **document}, status, headers or {})


@pytest.fixture
def nobody() -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{free_port()}") as client:
        yield client


@pytest.mark.parametrize("url", ["", "ftp://x", "localhost:8000", "http://", "/api"])
def test_what_is_no_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(NoServiceError, match="no URL"):
        Client(url)


def test_nobody_there_is_said_with_what_to_do(nobody: Client) -> None:
    with pytest.raises(NoServiceError, match=r"`darkroom up`.*--url"):
        nobody.models()
    assert not nobody.ready()


def test_the_service_is_ready_when_it_says_so() -> None:
    with Service(problem(503), Answer("{}")) as service, Client(service.url) as client:
        assert [client.ready(), client.ready()] == [False, True]
    assert {asked.path for asked in service.asked} == {"/readyz"}


@pytest.mark.parametrize(
    ("refusal", "said", "code"),
    [
        (
            problem(
                422,
                code="invalid_request",
                detail="Two fields are wrong.",
                errors=[
                    {"pointer": "/controls/0/name", "detail": "is unknown"},
                    {"pointer": "", "detail": "asks for too much"},
                ],
            ),
            "controls/0/name: is unknown\nthe request: asks for too much",
            "invalid_request",
        ),
        (
            problem(429, headers={"Retry-After": "7"}, code="queue_full", detail="It is full."),
            "It is full.\nTry again in 7 s.",
            "queue_full",
        ),
        (problem(500), "Refused", "http_error"),
        (
            Answer("<html>", 502),
            "The service answered 502 Bad Gateway, and not" + ELSEWHERE,
            "http_error",
        ),
        (
            Answer("[]", 500),
            "The service answered 500 Internal Server Error, and not" + ELSEWHERE,
            "http_error",
        ),
    ],
)
def test_a_refusal_is_said_in_the_words_of_the_service(
    refusal: Answer, said: str, code: str
) -> None:
    with (
        Service(refusal) as service,
        Client(service.url) as client,
        pytest.raises(ClientError) as refused,
    ):
        client.job("job_1")
    assert str(refused.value) == said
    assert (refused.value.code, refused.value.status) == (code, refusal.status)


def test_another_service_is_not_taken_for_a_darkroom() -> None:
    with Service(Answer("<html>"), Answer({"id": 1})) as service, Client(service.url) as client:
        with pytest.raises(NoServiceError, match="not as a Darkroom"):
            client.job("job_1")
        with pytest.raises(NoServiceError, match="no job"):
            client.job("job_1")


def test_a_newer_service_may_say_more() -> None:
    progress = {"stage": "denoise", "step": 1, "temperature": "high"}
    with Service(job(mood="good", progress=progress)) as service, Client(service.url) as client:
        found = client.job("job_1")
    assert found.progress
    assert found.progress.step == 1


def test_a_request_is_sent_again_with_its_key_when_the_answer_was_lost() -> None:
    with Service(BROKEN, job()) as service, Client(service.url) as client:
        assert client.submit({"prompt": "cat"}).id == "job_1"
    first, second = (asked.headers["idempotency-key"] for asked in service.asked)
    assert first == second


def test_an_answer_that_is_lost_twice_is_told() -> None:
    with (
        Service(BROKEN, BROKEN) as service,
        Client(service.url) as client,
        pytest.raises(ConnectionLostError, match=service.url),
    ):
        client.submit({"prompt": "cat"})


def test_a_job_is_followed_through_a_restart_of_the_service() -> None:
    answers = (
        job(etag='"1"'),
        Answer(status=304),
        BROKEN,
        problem(503),
        job(JobStatus.RUNNING, '"2"'),
        job(JobStatus.SUCCEEDED, '"3"'),
    )
    with Service(*answers) as service, Client(service.url) as client:
        seen = [state.status for state in client.follow("job_1")]
    assert seen == [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED]
    tags = [asked.headers.get("if-none-match") for asked in service.asked]
    assert tags == [None, '"1"', '"1"', '"1"', '"1"', '"2"']
    assert ["wait=" in asked.path for asked in service.asked] == [bool(tag) for tag in tags]


def test_following_ends_at_what_a_restart_does_not_mend(nobody: Client) -> None:
    with (
        Service(problem(404, code="not_found")) as service,
        Client(service.url) as client,
        pytest.raises(ClientError),
    ):
        next(client.follow("job_1"))
    with pytest.raises(NoServiceError):
        next(nobody.follow("job_1", patience_s=0))


def test_an_id_cannot_lead_elsewhere() -> None:
    with Service(job()) as service, Client(service.url) as client:
        client.cancel("../models?x#y")
    [asked] = service.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/jobs/..%2Fmodels%3Fx%23y/cancel")


def test_filters_that_are_left_out_are_not_sent() -> None:
    with Service(Answer({"data": []})) as service, Client(service.url) as client:
        assert list(client.jobs(status=None, model="tiny", limit=3)) == []
    assert service.asked[0].path == "/api/v1/jobs?model=tiny&limit=3"


def test_a_page_after_the_other_is_asked_for() -> None:
    pages = Answer({"data": [], "next_cursor": "7"}), Answer({"data": [], "next_cursor": None})
    with Service(*pages) as service, Client(service.url) as client:
        assert list(client.jobs(limit=300)) == []
    assert [each.path for each in service.asked] == [
        "/api/v1/jobs?limit=100",
        "/api/v1/jobs?limit=100&cursor=7",
    ]


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Service(Answer({"data": []})) as service, Client(service.url) as client:
        assert client.models() == []


def test_a_service_without_tls_is_told_from_none() -> None:
    with (
        Service() as service,
        Client(service.url.replace("http:", "https:")) as client,
        pytest.raises(NoServiceError, match=f"speaks no TLS .* Perhaps it is {service.url}"),
    ):
        client.job("job_1")
