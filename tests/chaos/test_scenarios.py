"""Scenarios that once went wrong, each by itself: hoard, poison, thousand, outage."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import pytest

from tests.chaos import audit, traps
from tests.chaos.clients import ENDED
from tests.chaos.house import House

Json = dict[str, Any]
Build = Callable[..., House]
PLACES = 4
POISONS: list[Json] = [
    {"prompt": words, "num_inference_steps": 6}
    for words in (traps.KILLS_AT_PROMPT, traps.KILLS_AT_STEP)
]


@dataclass
class Front:
    """What a client sees of a house, and what Valkey knows of a job's life."""

    house: House
    http: httpx2.Client

    def submit(self, **body: Any) -> str:
        asked = {"prompt": "a cat", "num_inference_steps": 4, **body}
        answer = self.http.post("/api/v1/jobs", json=asked)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> Json:
        found: Json = self.http.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
        return found

    def ended(self, jobs: list[str], timeout_s: float = 120) -> list[Json]:
        end = time.monotonic() + timeout_s
        found = []
        for job_id in jobs:
            while (job := self.wait(job_id))["status"] not in ENDED:
                assert time.monotonic() < end, f"{job_id} hangs\n{self.house.logs()}"
            found.append(job)
        return found

    def wait(self, job_id: str) -> Json:
        found: Json = self.http.get(f"/api/v1/jobs/{job_id}", params={"wait": 5}).json()
        return found

    def runs(self, job_id: str) -> list[float]:
        """When it began, each time; seconds since 1970, by Valkey's clock."""
        return audit.begun(self.house.redis, job_id)

    def queued_and_running(self) -> tuple[int, int]:
        queues = self.http.get("/api/v1/queue").raise_for_status().json()["data"]
        return sum(q["queued"] for q in queues), sum(q["running"] for q in queues)


@contextmanager
def front(house: House) -> Iterator[Front]:
    [api] = house.apis()
    house.until(partial(house.answers, api), "the API answers")
    with httpx2.Client(base_url=api.url, timeout=30) as http:
        yield Front(house, http)


def start(house: House, name: str) -> None:
    house.start_worker(name)
    house.until(partial(house.takes_jobs, name), f"{name} is up")


@pytest.mark.timeout(180)
def test_hoard_a_second_worker_gets_what_waits(build: Build) -> None:
    """An engine holds what it runs and little more: the rest is there for who comes."""
    house = build(max_jobs=PLACES, row_s=0.03, lease_s=15)
    with front(house) as clients:
        start(house, "w1")
        jobs = [clients.submit(num_inference_steps=8) for _ in range(24)]
        house.until(lambda: clients.queued_and_running()[1] >= PLACES, "the first ones run")
        queued, running = clients.queued_and_running()
        assert running <= 2 * PLACES, "the next may begin while others are in their last steps"
        assert queued >= len(jobs) - running - PLACES, "what is only held must count as queued"
        start(house, "w2")
        ready_at = time.time()
        ended = clients.ended(jobs)
        made = [job["id"] for job in ended if job["worker"] == "w2"]
        assert len(made) >= PLACES
        assert min(at for job in made for at in clients.runs(job)) < ready_at + 1
        assert {job["attempts"] for job in ended} == {1}


@pytest.mark.timeout(240)
def test_poison_fails_alone(build: Build) -> None:
    """Jobs that kill their engine, at once, at a step, or at the load of their model, take nobody
    down with them but themselves."""
    fail_alone(build, [*POISONS, {"model": traps.KILLS_AT_LOAD}], innocents=9, max_attempts=2)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_poison_among_two_hundred(build: Build) -> None:
    fail_alone(build, [*POISONS, *POISONS, {"model": traps.KILLS_AT_LOAD}], innocents=200)


def fail_alone(build: Build, poisons: list[Json], *, innocents: int, **settings: Any) -> None:
    """Whatever the order: each poison among the innocents, both kinds queued at once."""
    house = build(max_jobs=PLACES, lease_s=15, **settings)
    with front(house) as clients:
        every = innocents // len(poisons)
        ordinary, bad = [], []
        for number in range(innocents):
            if number % every == every // 3 and len(bad) < len(poisons):
                bad.append(clients.submit(**poisons[len(bad)]))
            ordinary.append(clients.submit(num_inference_steps=2 + number % 5))
        for name in ("w1", "w2"):
            house.start_worker(name)
        failed = clients.ended(bad, 900)
        assert [job["error"]["code"] for job in failed] == ["poison"] * len(poisons)
        ended = clients.ended(ordinary, 900)
        assert [job["error"] for job in ended if job["status"] != "succeeded"] == []


@pytest.mark.timeout(180)
def test_thousand_a_high_job_goes_next_whatever_waits(build: Build) -> None:
    """However long the others have waited: only what was begun already goes before it."""
    house = build(max_jobs=PLACES, row_s=0.01, lease_s=15, prefer_loaded_s=0.2)
    with front(house) as clients:
        start(house, "w1")
        jobs = [clients.submit(num_inference_steps=6) for _ in range(40)]
        house.until(
            lambda: sum(clients.job(job)["status"] == "succeeded" for job in jobs[:8]) > 4,
            "the backlog is older than any limit",
        )
        high = clients.submit(num_inference_steps=6, priority="high")
        sent_at = time.time()
        clients.ended([high, *jobs])
        began = clients.runs(high)[0]
        between = [job for job in jobs if sent_at < clients.runs(job)[0] < began]
        assert len(between) <= PLACES, "those whose places were taken when it came"


@pytest.mark.timeout(240)
def test_outage_costs_no_attempt(build: Build) -> None:
    """Valkey down for three leases, twice: nobody died, so nobody is charged."""
    house = build(max_jobs=PLACES, row_s=0.02, lease_s=1)
    with front(house) as clients:
        for name in ("w1", "w2"):
            start(house, name)
        jobs = [clients.submit(num_inference_steps=15 + n) for n in range(12)]
        for _ in range(2):
            house.until(lambda: clients.queued_and_running()[1] >= PLACES, "jobs run")
            house.kill_valkey()
            time.sleep(3.0)  # three leases: what is tested is that they pass
            house.valkey.start()
            house.until(partial(house.answers, house.apis()[0]), "the API accepts jobs again")
        ended = clients.ended(jobs)
        assert [job["status"] for job in ended] == ["succeeded"] * len(jobs)
        assert [job["attempts"] for job in ended] == [1] * len(jobs)
