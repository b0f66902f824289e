"""Webhooks over kills: what is promised of them holds whoever dies meanwhile."""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook as Receiver

from tests.chaos.house import House
from tests.outside import outside, replies

JOBS = 500
RECEIVERS = 5
FAILS_FIRST = 10
"""One message of so many is not taken the first time."""


class Receivers:
    """What came, by the ids of messages; each is judged as it comes."""

    def __init__(self, secret: str) -> None:
        self.came: Counter[str] = Counter()
        self.jobs: Counter[str] = Counter()
        """Jobs that were told of, by a message that was taken."""
        self._receiver = Receiver(secret)
        self._lock = threading.Lock()

    def answer(self, to: BaseHTTPRequestHandler, body: bytes) -> None:
        told = self._receiver.verify(body, dict(to.headers))
        name = to.headers["webhook-id"]
        with self._lock:
            self.came[name] += 1
            fails = self.came[name] == 1 and len(self.came) % FAILS_FIRST == 0
            if not fails:
                self.jobs[told["data"]["id"]] += 1
        assert told["type"] == "job.canceled"
        replies(500 if fails else 204)(to, body)


class Client(threading.Thread):
    """Submits jobs and cancels them; asks again until it is answered."""

    def __init__(self, url: str, receivers: list[str]) -> None:
        super().__init__(daemon=True)
        self.jobs: list[str] = []
        self._receivers = receivers
        self._url = f"{url}/api/v1"

    def run(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=10) as self._http:
            self._make()

    def _make(self) -> None:
        for number in range(JOBS):
            webhook = {"url": self._receivers[number % len(self._receivers)]}
            body = {"prompt": "a cat", "webhook": webhook}
            key = {"Idempotency-Key": f"webhook-{number}"}
            job = self.ask("/jobs", json=body, headers=key)["id"]
            self.ask(f"/jobs/{job}/cancel")
            self.jobs.append(job)

    def go_on(self, count: int) -> None:
        """Wait until so many more jobs are canceled, or all are."""
        most = len(self.jobs) + count
        while self.is_alive() and len(self.jobs) < most:
            self.join(0.05)

    def ask(self, path: str, **more: Any) -> Any:
        while True:
            try:
                answer = self._http.post(path, **more)
            except httpx2.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code < 300:
                return answer.json()
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)


def kill(house: House, victim: str, rng: random.Random) -> None:
    """Kill one, and start it again a little later."""
    if victim == "valkey":
        house.kill_valkey()
    else:
        member = house.members[victim]
        member.signal(9)
        assert house.ended(member)
    time.sleep(rng.uniform(0, 1))
    house.valkey.start() if victim == "valkey" else house.start_again(victim)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_each_webhook_is_delivered_over_kills(build: Callable[..., House]) -> None:
    house = build(webhooks=True, outbound_networks="127.0.0.1/32", max_queued=JOBS)
    [api] = house.apis()
    house.until(lambda: house.answers(api), "the API answers")
    secret = httpx2.post(f"{api.url}/api/v1/webhooks/secret").json()["secret"]
    receivers, rng, kills = Receivers(secret), random.Random(12), Counter()
    began = time.monotonic()
    with ExitStack() as undo:
        urls = [undo.enter_context(outside(receivers.answer)).url for _ in range(RECEIVERS)]
        client = Client(api.url, urls)
        client.start()
        while client.is_alive():
            victim = rng.choice(("api", "keeper", "valkey"))
            kill(house, victim, rng)
            kills[victim] += 1
            client.go_on(rng.randint(5, 25))
        assert len(client.jobs) == JOBS
        house.until(lambda: len(receivers.jobs) == JOBS, "all are delivered", 300)
    assert set(receivers.jobs) == set(client.jobs)
    doubled = sum(count - 1 for count in receivers.jobs.values())
    print(
        f"{JOBS} messages, {dict(kills)} kills, {doubled} came twice, "
        f"{time.monotonic() - began:.0f} s",
        file=sys.stderr,
    )
