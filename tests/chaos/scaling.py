"""How well work spreads over workers that come and go: `python -m tests.chaos.scaling`.

Three workers have a backlog; every ten seconds one joins and one is told to leave. The makespan is
held against the ideal one, for the worker-seconds that there were: each worker counts from when it
says that it takes jobs to when its process ends. A row of a network's call takes a fixed time in
which it leaves the CPU alone, as on a device of its own, so that workers do not slow one another.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from tests.chaos import audit, models
from tests.chaos.clients import ENDED, Client
from tests.chaos.history import History
from tests.chaos.house import House
from tests.chaos.spawn import Zygote

WORKERS = 3
EVERY_S = 10.0
ROW_S = 0.1
ROWS = 2
STEPS = (4, 12)
CALIBRATION_JOBS = 24


@dataclass(frozen=True)
class Shift:
    """A worker's time, in seconds since the first job was sent."""

    ready: float
    left: float


def ideal_s(shifts: Sequence[Shift], work_s: float) -> float:
    """When worker-seconds that count from each one's `ready` come to `work_s`; where they are too
    few, those that were there last go on."""
    edges = sorted({edge for shift in shifts for edge in (shift.ready, shift.left)})
    done, working, end = 0.0, 0, 0.0
    for begin, end in pairwise(edges):
        working = sum(shift.ready <= begin and end <= shift.left for shift in shifts)
        if working and done + working * (end - begin) >= work_s:
            return begin + (work_s - done) / working
        done += working * (end - begin)
    return end + (work_s - done) / working


@dataclass(frozen=True)
class Scaling:
    """What a run comes to; seconds."""

    cold: bool
    jobs: int
    joined: int
    makespan_s: float
    ideal_s: float
    ratio: float
    step_s: float
    """Of a job's step on one worker that has enough to do: the mean of before and after."""
    repeated: int
    """Jobs that took more than one attempt."""
    first_job_s: tuple[float, ...]
    """From when a worker that joined said that it takes jobs to its first job, sorted."""


class Run:
    """One run in a house that has its API, and no workers yet."""

    def __init__(self, house: House, client: Client, seed: int, *, cold: bool) -> None:
        self._house, self._client, self._cold = house, client, cold
        self._rng = random.Random(seed)
        self._began = 0.0
        self._ready: dict[str, float] = {}
        self._left: dict[str, float] = {}

    def run(self, minutes: float) -> Scaling:
        step_s = self._calibrate("first")
        wanted = int(minutes * 60 * WORKERS / step_s)
        steps = []
        while sum(steps) < wanted:
            steps.append(self._rng.randint(*STEPS))
        for number in range(WORKERS):
            self._start(f"w{number}")
        self._wait_until_ready()
        self._began = time.time()
        with ThreadPoolExecutor(8) as pool:
            jobs = list(pool.map(self._submit, steps))
        self._change_shifts(jobs[-1])
        ends = self._ends(jobs)
        ready, left = dict(self._ready), dict(self._left)
        step_s = (step_s + self._calibrate("last")) / 2
        self._ready, self._left = ready, left
        return self._result(jobs, steps, step_s, ends)

    def _calibrate(self, name: str) -> float:
        """Seconds of a step on one worker whose passes are full; all workers leave."""
        for worker in self._house.workers():
            self._leave(worker.name)
            self._house.ended(worker, 60)
        self._look()
        self._start(name)
        self._wait_until_ready()
        steps = [self._rng.randint(*STEPS) for _ in range(CALIBRATION_JOBS)]
        began = time.time()
        jobs = [self._submit(each) for each in steps]
        ends = self._ends(jobs)
        self._leave(name)
        self._house.ended(self._house.members[name], 60)
        self._ready.clear()
        self._left.clear()
        return (max(ends.values()) - began) / sum(steps)

    def _submit(self, steps: int) -> str:
        body = {"prompt": "a cat", "num_inference_steps": steps, "guidance_scale": 5.0}
        job = self._client.submit(body)
        assert job
        return job

    def _change_shifts(self, last: str) -> None:
        """One joins and one leaves, until no more is to be done."""
        number, due = WORKERS, time.time() + EVERY_S
        while self._house.redis.zcard("darkroom:leases") or self._waiting():
            self._look()
            if time.time() >= due:
                due += EVERY_S
                self._start(f"w{number}")
                oldest = next(name for name in self._house.members if self._is_at_work(name))
                self._leave(oldest)
                number += 1
            time.sleep(0.02)
        self._client.see(last)

    def _waiting(self) -> int:
        names = self._house.redis.smembers("darkroom:queues")
        return sum(self._house.redis.llen(b"rq:queue:" + name) for name in names)

    def _is_at_work(self, name: str) -> bool:
        return name in self._ready and name not in self._left and name in self._house.members

    def _start(self, name: str) -> None:
        self._house.start_worker(name, cold=self._cold)

    def _leave(self, name: str) -> None:
        self._left[name] = float("inf")
        self._house.members[name].signal(signal.SIGTERM)

    def _look(self) -> None:
        """Note who became ready, and who is gone."""
        for worker in self._house.workers():
            if worker.name not in self._ready and self._house.takes_jobs(worker.name):
                self._ready[worker.name] = time.time()
        for name, left in self._left.items():
            if left == float("inf") and self._house.members[name].status is not None:
                self._left[name] = time.time()

    def _wait_until_ready(self) -> None:
        def all_ready() -> bool:
            self._look()
            return all(worker.name in self._ready for worker in self._house.workers())

        self._house.until(all_ready, "the workers are up", 180)

    def _ends(self, jobs: list[str]) -> dict[str, float]:
        """When each job ended, by Valkey's clock."""
        ends = {}
        for job in jobs:
            while (seen := self._client.see(job, wait_s=5)) is None or seen["status"] not in ENDED:
                pass
            assert seen["status"] == "succeeded", seen
            ends[job] = audit.events(self._house.redis, job)[-1][0]
        return ends

    def _result(
        self, jobs: list[str], steps: list[int], step_s: float, ends: dict[str, float]
    ) -> Scaling:
        makespan = max(ends.values()) - self._began
        shifts = [
            Shift(
                max(ready - self._began, 0.0),
                min(self._left.get(name, float("inf")) - self._began, makespan),
            )
            for name, ready in self._ready.items()
            if ready - self._began < makespan
        ]
        best = ideal_s([s for s in shifts if s.left > s.ready], sum(steps) * step_s)
        waits, repeated = self._first_jobs(jobs)
        return Scaling(
            cold=self._cold,
            jobs=len(jobs),
            joined=len(self._ready) - WORKERS,
            makespan_s=round(makespan, 1),
            ideal_s=round(best, 1),
            ratio=round(makespan / best, 3),
            step_s=round(step_s, 4),
            repeated=repeated,
            first_job_s=tuple(sorted(round(each, 3) for each in waits)),
        )

    def _first_jobs(self, jobs: list[str]) -> tuple[list[float], int]:
        """How long workers that joined waited for their first jobs, and jobs that ran twice."""
        first: dict[str, float] = {}
        repeated = 0
        for job in jobs:
            seen = self._client.see(job)
            assert seen
            repeated += seen["attempts"] > 1
            begun = audit.begun(self._house.redis, job)[-1]
            worker = seen["worker"]
            first[worker] = min(first.get(worker, begun), begun)
        joined = [name for name in first if name not in {f"w{n}" for n in range(WORKERS)}]
        return [max(first[name] - self._ready[name], 0.0) for name in joined], repeated


def measure(zygote: Zygote, toml: Path, folder: Path, minutes: float, *, cold: bool) -> Scaling:
    settings = {"lease_s": 15, "grace_s": 30, "max_jobs": 4, "max_queued": 100_000}
    with House(zygote, folder, toml, row_s=ROW_S / ROWS, **settings) as house:
        api = house.start_api()
        house.start_keeper()
        house.until(partial(house.answers, api), "the API answers")
        with Client(lambda: [api.url], History(), random.Random(1)) as client:
            return Run(house, client, 1, cold=cold).run(minutes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--cold", action="store_true", help="workers import all they need")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scaling-", dir="/tmp"))
    toml = models.write(folder / "models")
    with Zygote(folder, toml) as zygote:
        result = measure(zygote, toml, folder / "h", arguments.minutes, cold=arguments.cold)
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
