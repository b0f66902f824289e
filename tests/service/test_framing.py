"""What two readers could take for two different requests is refused, and the connection closed."""

import json

import h11
import httpx2
import pytest

from service import framing
from service.framing import StrictConnection
from tests.service.wire import JSON, answer_and_close, connected, head, one_answer, status_of

POST = "POST /api/v1/jobs HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"

AMBIGUOUS = {
    "both lengths": head(POST, JSON, "Content-Length: 5", CHUNKED) + b"0\r\n\r\n",
    "both lengths, the other way round": head(POST, JSON, CHUNKED, "Content-Length: 0"),
    "two lengths": head(POST, JSON, "Content-Length: 5", "Content-Length: 6"),
    "chunked in HTTP/1.0": head("POST /api/v1/jobs HTTP/1.0", JSON, CHUNKED) + b"0\r\n\r\n",
    "an unknown coding": head(POST, JSON, "Transfer-Encoding: xchunked"),
    "chunked twice": head(POST, JSON, "Transfer-Encoding: chunked, chunked"),
    "two types": head(POST, JSON, "Content-Type: text/plain", "Content-Length: 0"),
    "two keys": head(POST, JSON, "Idempotency-Key: a", "Idempotency-Key: b"),
    "two hosts": head("GET /livez HTTP/1.1", "Host: evil.test"),
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "bare line feeds": head("GET /livez HTTP/1.1").replace(b"\r\n", b"\n"),
    "one bare line feed": head("GET /livez HTTP/1.1", "A: b\nC: d"),
    "a bare carriage return": head("GET /livez HTTP/1.1", "A: b\rC: d"),
    "a header on two lines": head("GET /livez HTTP/1.1", "A: b\r\n c"),
    "a space before the colon": head("GET /livez HTTP/1.1", "A : b"),
    "an escape in a header": head("GET /livez HTTP/1.1", "A: \x1b[31m"),
    "another host in the target": head("GET http://evil.test/livez HTTP/1.1"),
    "a bad chunk": head(POST, JSON, CHUNKED) + b"zz\r\n",
    "a long line before a chunk": head(POST, JSON, CHUNKED) + b"5;" + b"a" * 5000 + b"\r\n",
    "bare line feeds after a chunk": head(POST, JSON, CHUNKED) + b"0\r\nA: b\n\r\n",
    "TLS": bytes.fromhex("16030100f8010000f40303"),
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_is_ambiguous_is_refused(served, sent):
    answer = answer_and_close(served.url, sent)
    assert status_of(answer) == 400
    assert b"content-type: application/problem+json" in answer.lower()
    problem = json.loads(answer.rpartition(b"\r\n\r\n")[2])
    assert problem["code"] == "malformed_request"
    assert "bytearray" not in problem["detail"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("GET /livez HTTP/2.0"), 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (head("CONNECT 127.0.0.1:22 HTTP/1.1"), 405),
        (head("GET /livez HTTP/1.1", "A: " + "b" * 70_000), 431),
        (head(f"GET /{'a' * 66_000} HTTP/1.1"), 431),
        (head("GET /livez HTTP/1.1", *(f"A{n}: b" for n in range(200))), 431),
    ],
)
def test_b1_what_is_not_spoken_here_is_refused(served, sent, status):
    assert status_of(answer_and_close(served.url, sent)) == status


def test_a_head_request_is_refused_without_a_body(served):
    answer = answer_and_close(served.url, head("HEAD /livez HTTP/1.1", "Range: a", "Range: b"))
    assert status_of(answer) == 400
    assert answer.endswith(b"\r\n\r\n")


def test_a_bad_chunk_after_the_answer_just_closes(served):
    """A body of no type is answered before it is read."""
    with connected(served.url) as connection:
        connection.sendall(head(POST, "Content-Type: text/plain", CHUNKED) + b"5\r\nabcde\r\n")
        assert status_of(one_answer(connection)) == 415
        connection.sendall(b"zz\r\n")
        assert connection.recv(65536) == b""


def test_what_is_right_is_taken(served, redis):  # noqa: ARG001
    with connected(served.url) as connection:
        one = head("GET /livez HTTP/1.1")
        connection.sendall(b"\r\n" + one + one + head("GET /livez HTTP/1.1", "Connection: close"))
        answers = b""
        while part := connection.recv(65536):
            answers += part
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    sent = (
        head(POST, JSON, CHUNKED, "Connection: close")
        + b'f\r\n{"prompt": "x"}\r\n0\r\nA: b\r\n\r\n'
    )
    assert status_of(answer_and_close(served.url, sent)) in (202, 400)
    assert httpx2.get(served.url + "/livez", headers={"Upgrade": "websocket"}).status_code == 200


def test_no_more_small_chunks_than_there_is_time_for(monkeypatch):
    monkeypatch.setattr(framing, "MOST_SMALL_CHUNKS", 10)
    connection = StrictConnection()
    connection.receive_data(head(POST, JSON, CHUNKED))
    assert isinstance(connection.next_event(), h11.Request)
    large = b"200\r\n" + b"x" * 512 + b"\r\n"
    connection.receive_data(large * 20 + b"1\r\nx\r\n" * 9)
    for _ in range(29):
        assert isinstance(connection.next_event(), h11.Data)
    connection.receive_data(b"1\r\nx\r\n" * 2)
    assert isinstance(connection.next_event(), h11.Data)
    with pytest.raises(h11.RemoteProtocolError):
        connection.next_event()
    assert connection.refused == (400, "The body comes in too many small chunks.")
