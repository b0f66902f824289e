"""Clients of a run: they ask for pictures, repeat what got no answer, follow, cancel, hang up, and
note all of it; threads of the test."""

import base64
import io
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

import httpx2
from PIL import Image

from tests.chaos.history import History

ENDED = ("succeeded", "failed", "canceled")
PATIENCE_S = 180.0
"""How long a client asks again for what it got no answer to."""

Json = dict[str, Any]


@dataclass
class Client:
    """One client with several APIs to choose from: what one does not answer the next may."""

    urls: Callable[[], list[str]]
    history: History
    rng: random.Random
    http: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx2.Client(timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, method: str, path: str, **about: Any) -> httpx2.Response | None:
        """An answer, of whatever status; None if there was none."""
        try:
            answer = self.http.request(method, self.rng.choice(self.urls()) + path, **about)
        except (httpx2.TransportError, httpx2.DecodingError):
            return None
        if answer.status_code >= 500 or answer.status_code == 429:
            self._note_fault(f"{method} {path.split('/')[3] if '/v1/' in path else path}", answer)
        return answer

    def ask_until(
        self, method: str, path: str, good: tuple[int, ...], **about: Any
    ) -> httpx2.Response | None:
        """Ask again while there is no answer, or one that says to come again."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            answer = self.ask(method, path, **about)
            if answer is not None and answer.status_code in good:
                return answer
            if answer is not None and answer.status_code not in (429, 503, 500):
                self.history.note("odd", what=f"{method} {path}", status=answer.status_code)
                return None
            time.sleep(self.rng.uniform(0.1, 0.5))
        self.history.note("gave up", what=f"{method} {path}")
        return None

    def submit(self, body: Json, *, sort: str = "innocent", **more: Any) -> str | None:
        """The id of an accepted job: sent again with the same key until it is."""
        key = f"k{uuid4().hex}"  # two clients may have drawn the same from their seeds
        headers = {"Idempotency-Key": key}
        self.history.note("send", key=key, sort=sort)
        answer = self.ask_until(
            "POST", "/api/v1/jobs", (202, 200), json=body | {"tags": [key]}, headers=headers
        )
        if answer is None:
            return None
        job = answer.json()
        self.history.note(
            "ack",
            job=job["id"],
            key=key,
            sort=sort,
            pictures=body.get("num_images", 1),
            priority=body.get("priority", "normal"),
            **more,
        )
        return str(job["id"])

    def see(self, job_id: str, *, wait_s: int = 0) -> Json | None:
        """The job as it is told now; None if nobody tells."""
        wait = {"wait": wait_s} if wait_s else {}
        answer = self.ask("GET", f"/api/v1/jobs/{job_id}", params=wait)
        if answer is None or answer.status_code in (429, 500, 503):
            return None
        if answer.status_code != 200:
            self.history.note("missing", job=job_id, status=answer.status_code)
            return None
        job: Json = answer.json()
        queue = job["queue"] or {}
        self.history.note(
            "seen",
            job=job_id,
            status=job["status"],
            position=queue.get("position"),
            attempts=job["attempts"],
        )
        return job

    def cancel(self, job_id: str) -> None:
        if self.ask_until("POST", f"/api/v1/jobs/{job_id}/cancel", (200, 202)) is not None:
            self.history.note("cancel", job=job_id)

    def follow_events(self, job_id: str) -> None:
        """One stream, to its end or to where it breaks."""
        url = f"{self.rng.choice(self.urls())}/api/v1/jobs/{job_id}/events"
        try:
            with self.http.stream("GET", url, timeout=10) as stream:
                for line in stream.iter_lines():
                    if line.startswith("event: done"):
                        self.history.note("told of the end", job=job_id)
        except (httpx2.TransportError, httpx2.StreamError):
            return

    def _note_fault(self, what: str, answer: httpx2.Response) -> None:
        is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
        self.history.note(
            "refused",
            what=what,
            status=answer.status_code,
            problem=is_problem,
            code=answer.json().get("code") if is_problem else answer.text[:200],
            retry_after="retry-after" in answer.headers,
        )


class Crowd:
    """Clients at work until told to stop. A context manager."""

    def __init__(
        self,
        urls: Callable[[], list[str]],
        history: History,
        seed: int,
        *,
        clients: int = 8,
        burst: int = 4,
        pause_s: float = 0.5,
    ) -> None:
        """Each client asks for up to `burst` jobs, follows them to their end, and pauses for about
        `pause_s` seconds."""
        self._urls, self._history, self._seed = urls, history, seed
        self._count, self._burst, self._pause_s = clients, burst, pause_s
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._picture = _picture()

    def __enter__(self) -> "Crowd":
        self._lives = [self._pool.submit(self._live, n) for n in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """No more jobs; those under way are followed to their end."""
        self._stop.set()
        for life in self._lives:
            life.result()
        self._pool.shutdown()

    def _live(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        client = Client(self._urls, self._history, rng)
        with client:
            while not self._stop.is_set():
                wanted = [self.body(rng) for _ in range(rng.randint(1, self._burst))]
                ids = [client.submit(body) for body in wanted]
                for job_id in (each for each in ids if each):
                    how = rng.choice(("poll", "wait", "events", "leave", "wait"))
                    if rng.random() < 0.05:
                        client.cancel(job_id)
                    if how != "leave":
                        follow(client, job_id, how)
                self._stop.wait(rng.uniform(0, 2 * self._pause_s))

    def body(self, rng: random.Random) -> Json:
        """What somebody could ask for."""
        body: Json = {
            "prompt": f"a cat of {rng.randint(1, 10**9)}",
            "num_inference_steps": rng.randint(2, 10),
            "num_images": rng.choice((1, 1, 1, 2)),
            "priority": rng.choice(("normal",) * 6 + ("high", "low")),
            "guidance_scale": rng.choice((1.0, 5.0)),
        }
        if rng.random() < 0.15:
            body |= {"image": self._picture, "strength": 0.8}
        return body


def follow(client: Client, job_id: str, how: str) -> None:
    """Up to the job's end: `poll`, `wait` or `events`."""
    end = time.monotonic() + PATIENCE_S
    if how == "events":
        client.follow_events(job_id)
    while time.monotonic() < end:
        job = client.see(job_id, wait_s=0 if how == "poll" else 3)
        if job and job["status"] in ENDED:
            return
        time.sleep(client.rng.uniform(0.05, 0.4))


def hang_up(url: str, body: Json) -> None:
    """Send half of a request and go."""
    data = json.dumps(body).encode()
    with httpx2.Client(timeout=5) as http:

        def half() -> Any:
            yield data[: len(data) // 2]
            raise ConnectionAbortedError

        try:
            http.post(f"{url}/api/v1/jobs", content=half())
        except (ConnectionAbortedError, httpx2.TransportError):
            return


def _picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
