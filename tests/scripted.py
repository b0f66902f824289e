"""A service that answers as it is told to, for tests of clients."""

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from typing import Any, Self

from darkroom.job import JobStatus

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
    body: bytes = b""


class Service:
    """Gives the answers one after the other and keeps what it was asked. A context manager."""

    def __init__(self, *answers: Answer | None, together: int = 1) -> None:
        """`together`: how many requests have to be there before any is answered."""
        left, all_there = iter(answers), Barrier(together)
        asked: list[Asked] = []
        self.asked = asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                asked.append(Asked(self.command, self.path, headers, body))
                answer = next(left)
                all_there.wait(20)
                if answer is BROKEN:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status not in (204, 304):
                    self.send_header("Content-Length", str(len(answer.data)))
                self.end_headers()
                self.wfile.write(answer.data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

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


def batch(*statuses: JobStatus | None, **more: Any) -> Answer:
    jobs = [
        {"id": f"job_{n}", "status": each, "at": {"seed": n}, "url": f"/job_{n}", **more}
        for n, each in enumerate(statuses)
    ]
    grid = {"seed": [None] * len(jobs)}
    made = {"id": "batch_1", "grid": grid, "jobs": jobs, "created_at": "2026-01-01T00:00:00Z"}
    return Answer({**made, "done": True, "unknown": 1})
