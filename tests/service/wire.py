"""Requests byte by byte, as no HTTP client would send them."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

PATIENCE_S = 20

JSON = "Content-Type: application/json"


def head(line: str, *headers: str, host: str = "localhost") -> bytes:
    return "\r\n".join([line, f"Host: {host}", *headers, "", ""]).encode("latin-1")


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port), timeout=PATIENCE_S) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


def one_answer(connection: socket.socket) -> bytes:
    """The next answer, which has to declare its length, on a connection that goes on."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: (\d+)", head.lower())
    while len(body) < int(length):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer_and_close(url: str, *parts: bytes) -> bytes:
    """What comes to these parts of a request before the other side closes."""
    with connected(url) as connection:
        for part in parts:
            connection.sendall(part)
        return until_closed(connection)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
