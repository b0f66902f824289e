"""Both clients before a service that answers as it is told to; before a real one in
tests/service/test_python_client.py."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from darkroom import AsyncClient, Client
from darkroom.api_keys import new_key
from darkroom.client import ConnectionLostError, NoServiceError, RefusedError, UnreachableError
from darkroom.errors import NotFoundError
from darkroom.job import JobStatus
from darkroom.ports import free_port
from tests.blocking import Blocking
from tests.scripted import BROKEN, Answer, Service, batch, job, problem

AGAIN = {"Retry-After": "0"}


@pytest.fixture(params=[Client, Blocking])
def connect(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


def test_both_have_the_same_methods() -> None:
    def methods(cls: type) -> dict[str, list[str]]:
        public = {name: each for name, each in vars(cls).items() if not name.startswith("_")}
        return {name: list(inspect.signature(each).parameters) for name, each in public.items()}

    one, other = methods(Client), methods(AsyncClient)
    assert {**one, "aclose": one["close"]} == {**other, "close": other["aclose"]}


def test_a_key_is_sent_and_told_by_no_error(connect) -> None:
    _, token = new_key("web")
    answers = Answer({"data": []}), problem(401, code="unauthenticated", detail="No.")
    with Service(*answers) as service, connect(service.url, key=token.reveal()) as client:
        assert client.models() == []
        with pytest.raises(RefusedError, match=r"No\.") as raised:
            client.models()
    assert service.asked[0].headers["authorization"] == f"Bearer {token.reveal()}"
    assert token.secret not in str(raised.value)


def test_nobody_there_is_told_at_once(connect) -> None:
    with connect(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(UnreachableError):
            client.models()
        with pytest.raises(NoServiceError):
            next(client.follow("job_1"))
        with pytest.raises(NoServiceError):
            next(client.events("job_1"))
        assert not client.ready()


def test_a_service_is_ready_when_it_says_so(connect) -> None:
    with Service(problem(503), Answer("{}")) as service, connect(service.url) as client:
        assert [client.ready(), client.ready()] == [False, True]
    assert {asked.path for asked in service.asked} == {"/readyz"}


def test_what_may_pass_is_asked_again_with_the_same_key(connect) -> None:
    full = problem(429, headers=AGAIN, code="queue_full", detail="Full.", retryable=True)
    with Service(full, BROKEN, job()) as service, connect(service.url) as client:
        assert client.submit({"prompt": "dog"}, prompt="cat", loras=[]).id == "job_1"
    assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 1
    assert [json.loads(each.body) for each in service.asked] == [{"prompt": "cat", "loras": []}] * 3


def test_one_without_patience_is_told_of_the_first_fault(connect) -> None:
    with Service(BROKEN, problem(503)) as service, connect(service.url, patience_s=0) as client:
        with pytest.raises(ConnectionLostError, match=service.url):
            client.retry("job_1", seed=None, idempotency_key="mine")
        with pytest.raises(RefusedError):
            client.job("job_1")
    assert service.asked[0].headers["idempotency-key"] == "mine"


def test_an_answer_that_does_not_come_is_waited_for_so_long(connect) -> None:
    """The first is held back until the second is asked for."""
    with Service(Answer({"data": []}), Answer({"data": []}), together=2) as service:
        with (
            connect(service.url, timeout_s=0.05, patience_s=0) as client,
            pytest.raises(ConnectionLostError),
        ):
            client.models()
        with connect(service.url) as client:
            assert client.models() == []


def test_a_job_is_followed_through_a_restart(connect) -> None:
    answers = (
        job(etag='"1"'),
        Answer(status=304),
        problem(503, headers=AGAIN),
        job(JobStatus.RUNNING, '"2"'),
        job(JobStatus.SUCCEEDED, '"3"'),
    )
    with Service(*answers) as service, connect(service.url) as client:
        seen = [state.status for state in client.follow("job_1")]
    assert seen == [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED]
    tags = [asked.headers.get("if-none-match") for asked in service.asked]
    assert tags == [None, '"1"', '"1"', '"1"', '"2"']
    assert ["wait=" in asked.path for asked in service.asked] == [bool(tag) for tag in tags]


def test_following_ends_at_what_a_restart_does_not_mend(connect) -> None:
    missing = problem(404, code="job_not_found", detail="None.")
    with (
        Service(missing) as service,
        connect(service.url) as client,
        pytest.raises(NotFoundError),
    ):
        next(client.follow("job_1"))


def told(*events: str) -> Answer:
    return Answer("".join(events), headers={"Content-Type": "text/event-stream"})


QUEUED = 'event: status\ndata: {"status": "queued", "attempt": null}\nid: 1-0\n\n'
DONE = 'event: done\ndata: {"status": "canceled", "code": null, "job": null}\nid: 2-0\n\n'


def test_events_are_taken_up_again_where_they_broke(connect) -> None:
    stops = 'event: error\nretry: 10\ndata: {"code": "shutting_down", "message": "It stops."}\n\n'
    answers = told(QUEUED, stops), problem(503, headers=AGAIN), told(DONE)
    with Service(*answers) as service, connect(service.url) as client:
        assert [event.id for event in client.events("job_1")] == ["1-0", "2-0"]
    came_back = [asked.headers.get("last-event-id") for asked in service.asked]
    assert came_back == [None, "1-0", "1-0"]


def test_events_of_which_none_was_missed_are_over(connect) -> None:
    with Service(Answer(status=204)) as service, connect(service.url) as client:
        assert list(client.events("job_1", after="2-0")) == []
    assert service.asked[0].headers["last-event-id"] == "2-0"


def test_events_of_a_job_that_is_not_there_are_refused(connect) -> None:
    missing = problem(404, code="job_not_found", detail="None.")
    with (
        Service(missing) as service,
        connect(service.url) as client,
        pytest.raises(NotFoundError, match="None"),
    ):
        next(client.events("job_1"))


def test_events_of_all_jobs_can_be_left(connect) -> None:
    queued = QUEUED.replace('"status":', '"job_id": "job_1", "status":', 1)
    with Service(told(queued)) as service, connect(service.url) as client:
        for event in client.events():
            assert (event.job_id, event.data.status) == ("job_1", "queued")
            break
    assert service.asked[0].path == "/api/v1/events"


def test_a_list_is_asked_for_page_by_page(connect) -> None:
    pages = Answer({"data": [], "next_cursor": "7"}), Answer({"data": [], "next_cursor": None})
    with Service(*pages) as service, connect(service.url) as client:
        assert list(client.jobs(status=None, model="tiny", limit=300)) == []
    assert [each.path for each in service.asked] == [
        "/api/v1/jobs?model=tiny&limit=100",
        "/api/v1/jobs?model=tiny&limit=100&cursor=7",
    ]


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch, connect) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Service(Answer({"data": []})) as service, connect(service.url) as client:
        assert client.models() == []


def test_a_service_without_tls_is_told_from_none(connect) -> None:
    with (
        Service() as service,
        connect(service.url.replace("http:", "https:")) as client,
        pytest.raises(NoServiceError, match=f"speaks no TLS .* Perhaps it is {service.url}"),
    ):
        client.job("job_1")


def test_a_batch_is_followed_to_its_end(connect) -> None:
    first, last = batch(JobStatus.RUNNING, JobStatus.QUEUED), batch(None, JobStatus.SUCCEEDED)
    answers = first, problem(503, headers=AGAIN), job(), last
    with Service(*answers) as service, connect(service.url) as client:
        followed = [each.done for each in client.follow_batch("batch_1")]
    assert followed == [False, True]
    assert [asked.path for asked in service.asked][:2] == [
        "/api/v1/batches/batch_1",
        "/api/v1/jobs/job_0?wait=2",
    ]


def test_a_batch_whose_answer_got_lost_is_sent_again_with_the_same_key(connect) -> None:
    with Service(BROKEN, batch(JobStatus.QUEUED)) as service, connect(service.url) as client:
        assert client.submit_batch({"grid": {"seed": [1]}}).id == "batch_1"
    assert len({asked.headers["idempotency-key"] for asked in service.asked}) == 1
    assert len(service.asked) == 2
