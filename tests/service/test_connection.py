"""Clients that are slow in any direction, and more of them than there is room for."""

import json
import resource
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from darkroom.settings import Settings
from service.__main__ import _crowd
from tests.service.conftest import Served
from tests.service.wire import (
    JSON,
    PATIENCE_S,
    answer_and_close,
    connected,
    head,
    one_answer,
    status_of,
    until_closed,
)

POST = "POST /api/v1/jobs HTTP/1.1"


@pytest.fixture(scope="session")
def impatient(serving: Callable[..., Served], valkey, tmp_path_factory) -> Served:
    """A service whose clients get no time."""
    return serving(
        redis_url=valkey.url,
        state_dir=tmp_path_factory.mktemp("state"),
        header_timeout_s=0.5,
        body_timeout_s=0.5,
        send_timeout_s=0.5,
        max_body_mb=8,
    )


UNFINISHED = [
    (b"", None),
    (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nA: ", 408),
    (head(POST, JSON, "Content-Length: 500") + b'{"pro', 408),
    (head(POST, JSON, "Transfer-Encoding: chunked") + b'500\r\n{"pro', 408),
    (head(POST, JSON, "Transfer-Encoding: chunked") + b"FFFFFFFFFFFFFFFFFFFF\r\n", 408),
    (head(POST, "Content-Type: text/plain", "Content-Length: 500") + b"x", 415),
    (head("GET /livez HTTP/1.1", "Content-Length: 500") + b"x", 200),
    (head("GET /livez HTTP/1.1") + b"GET ", 200),
]


def test_who_never_finishes_a_request_is_closed(impatient):
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(connected(impatient.url)) for _ in UNFINISHED]
        for client, (sent, _) in zip(clients, UNFINISHED, strict=True):
            client.sendall(sent)
        for client, (sent, status) in zip(clients, UNFINISHED, strict=True):
            answer = until_closed(client)
            assert (status_of(answer) if answer else None) == status, sent
            if status == 408:
                assert b"request_timeout" in answer
                assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "begin", [b"GET /livez HTTP/1.1\r\nA: ", head(POST, JSON, "Content-Length: 4000000")]
)
def test_b1_drop_by_drop_is_no_way_to_stay(impatient, begin):
    with connected(impatient.url) as connection:
        connection.sendall(begin)
        connection.settimeout(0.05)
        for _ in range(400):
            try:
                connection.sendall(b"x")
                if answer := connection.recv(65536):
                    assert status_of(answer) == 408
                    return
            except TimeoutError:
                continue
    raise AssertionError("it is still open")


def test_b5_an_answer_that_nobody_reads_is_given_up(impatient):
    """Many pipelined answers fill whatever lies between the two."""
    with connected(impatient.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(head("GET /openapi.json HTTP/1.1") * 400)
        end = select.poll()
        end.register(connection, select.POLLHUP | select.POLLERR)
        assert end.poll(PATIENCE_S * 1000)


def test_an_idle_connection_may_stay(impatient):
    asking = head("GET /livez HTTP/1.1")
    with connected(impatient.url) as idle:
        idle.sendall(asking)
        assert status_of(one_answer(idle)) == 200
        assert answer_and_close(impatient.url, b"") == b""  # one that never asked has to go
        idle.sendall(asking)
        assert status_of(one_answer(idle)) == 200


@pytest.fixture
def cramped(serving: Callable[..., Served], valkey, tmp_path_factory) -> Served:
    """A service with room for three connections."""
    state_dir = tmp_path_factory.mktemp("state")
    return serving(redis_url=valkey.url, state_dir=state_dir, max_connections=3)


def test_b2_a_connection_too_many_is_told_so(cramped):
    asking = head("GET /livez HTTP/1.1")
    with ExitStack() as open_ones:
        for _ in range(3):
            connection = open_ones.enter_context(connected(cramped.url))
            connection.sendall(asking)
            assert status_of(one_answer(connection)) == 200
        answer = answer_and_close(cramped.url, asking)
        assert status_of(answer) == 503
        assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["code"] == "busy"
        assert b"retry-after: " in answer.lower()
        assert b"x-request-id: " in answer.lower()
        connection.sendall(asking)
        assert status_of(one_answer(connection)) == 200


def test_there_are_no_more_connections_than_files():
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert _crowd(Settings(_env_file=None, max_connections=10**9)).most < files
