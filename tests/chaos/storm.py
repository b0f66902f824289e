"""A storm of faults over a Darkroom at work; `python -m tests.chaos.storm --minutes 5 --seed 7`.

Calm spells, in which one fault strikes at a time and everything settles in between, take turns with
rough ones, in which faults overlap. Writes what happened and what it comes to into a folder.
"""

import argparse
import heapq
import itertools
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.chaos import audit, checker, models
from tests.chaos.clients import Client, Crowd
from tests.chaos.faults import FAULTS, Scene, Steps
from tests.chaos.history import History
from tests.chaos.house import House
from tests.chaos.spawn import Zygote

CALM_SHARE = 0.4
"""Of the time, in spells of `SPELL_LEASES`."""
SPELL_LEASES = 12.0
PIECE_MINUTES = 10.0


@dataclass
class Plan:
    """What a storm is like."""

    seed: int
    minutes: float
    lease_s: float = 2.0
    workers: int = 2
    cold_workers: int = 1
    apis: int = 2
    clients: int = 10
    row_s: float = 0.015
    only: Collection[str] = ()
    """Names of faults; empty: all."""
    script: tuple[str, ...] = ()
    """These and no others, one after the other, instead of chance."""
    appendfsync: str = "everysec"
    settings: dict[str, Any] = field(default_factory=lambda: {"max_jobs": 4})


class Storm:
    """Faults that begin, wait and mend, in one thread."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self._scene, self._plan = scene, plan
        self._under_way: list[tuple[float, int, Steps]] = []
        self._numbers = itertools.count()
        self._looked_at = 0.0

    def blow(self) -> None:
        """All of it; at its end everything is mended and every process runs."""
        if self._plan.script:
            for name in self._plan.script:
                self._strike(name)
        else:
            self._blow_by_chance(time.monotonic() + 60 * self._plan.minutes)
        self._wait_until(lambda: not self._under_way)
        self._scene.house.until(self._all_run, "every process runs again", 120)

    def _strike(self, name: str) -> None:
        """Until it hits something: what the last fault ended may not be back yet."""
        before = self._scene.struck
        while self._scene.struck == before:
            self._wait(0.05)
            self._begin(FAULTS[name][0](self._scene))
            self._wait_until(lambda: not self._under_way)

    def _blow_by_chance(self, end: float) -> None:
        rng, lease_s = self._scene.rng, self._plan.lease_s
        names = [name for name in FAULTS if not self._plan.only or name in self._plan.only]
        weights = [FAULTS[name][1] for name in names]
        while time.monotonic() < end:
            calm = rng.random() < CALM_SHARE
            spell_end = min(end, time.monotonic() + SPELL_LEASES * lease_s)
            while time.monotonic() < spell_end:
                self._begin(FAULTS[rng.choices(names, weights)[0]][0](self._scene))
                if calm:
                    self._wait_until(lambda: not self._under_way)
                    self._wait(2.5 * lease_s)
                else:
                    self._wait(rng.uniform(0.1, 1.0) * lease_s)

    def _begin(self, steps: Steps) -> None:
        self._go_on(steps)

    def _go_on(self, steps: Steps) -> None:
        try:
            pause_s = next(steps)
        except StopIteration:
            return
        entry = (time.monotonic() + pause_s, next(self._numbers), steps)
        heapq.heappush(self._under_way, entry)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._wait_until(lambda: time.monotonic() >= end)

    def _wait_until(self, done: Callable[[], bool]) -> None:
        while not done():
            while self._under_way and self._under_way[0][0] <= time.monotonic():
                self._go_on(heapq.heappop(self._under_way)[2])
            self._look()
            time.sleep(0.02)

    def _look(self) -> None:
        """Start again what died of a trap, and see that no job is nowhere."""
        scene = self._scene
        for member in list(scene.house.members.values()):
            if member.status is not None and member.name not in scene.busy:
                scene.house.start_again(member.name)
        if time.monotonic() - self._looked_at > 1.0 and "valkey" not in scene.busy:
            self._looked_at = time.monotonic()
            try:
                audit.astray(scene.house.redis, scene.history)
            except RedisError:
                return

    def _all_run(self) -> bool:
        self._look()
        house = self._scene.house
        return all(m.status is None for m in house.members.values()) and all(
            house.takes_jobs(worker.name) for worker in house.workers()
        )


@dataclass
class Result:
    """What a piece of a long run comes to."""

    seed: int
    minutes: float
    lease_s: float
    disk: str
    verdict: checker.Verdict

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def run(
    plan: Plan, zygote: Zygote, toml: Path, folder: Path, say: Callable[[str], None] = print
) -> Result:
    """One storm, what it writes below `folder`, which must not exist yet."""
    folder.mkdir(parents=True)
    say(f"seed {plan.seed}")
    settings = {"lease_s": plan.lease_s, **plan.settings}
    began = time.monotonic()
    with (
        History(folder / "history.jsonl") as history,
        House(zygote, folder / "house", toml, row_s=plan.row_s, **settings) as house,
    ):
        say(f"full disks: {house.disk.kind}")
        house.redis.config_set("appendfsync", plan.appendfsync)
        start(house, plan)
        rng = random.Random(plan.seed)
        urls = [api.url for api in house.apis()]
        with Client(lambda: urls, history, random.Random(plan.seed)) as client:
            scene = Scene(house, history, rng, plan.lease_s, client)
            with Crowd(lambda: urls, history, plan.seed, clients=plan.clients):
                Storm(scene, plan).blow()
        audit.take(house, history, urls[0])
        verdict = checker.check(history.lines, lease_s=plan.lease_s)
        if verdict.breaches:
            (folder / "logs.txt").write_text(house.logs(10**6))
    minutes = (time.monotonic() - began) / 60
    return Result(plan.seed, round(minutes, 2), plan.lease_s, house.disk.kind, verdict)


def start(house: House, plan: Plan) -> None:
    """All its processes; returns when they answer and take jobs."""
    for number in range(plan.apis):
        house.start_api(f"api{number + 1}")
    house.start_keeper()
    for number in range(plan.workers + plan.cold_workers):
        house.start_worker(f"w{number + 1}", cold=number >= plan.workers)
    for api in house.apis():
        house.until(partial(house.answers, api), f"{api.name} answers")
    for worker in house.workers():
        if not worker.cold:
            house.until(partial(house.takes_jobs, worker.name), f"{worker.name} is up")


def pieces(seed: int, minutes: float) -> list[tuple[int, float]]:
    """A long run as shorter ones, each with a seed of its own."""
    count = max(math.ceil(minutes / PIECE_MINUTES), 1)
    return [(seed + number, minutes / count) for number in range(count)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", nargs="*", default=(), help="names of faults")
    parser.add_argument("--out", type=Path, default=Path("build/chaos"))
    parser.add_argument("--fsync", default="everysec", choices=("everysec", "always"))
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    arguments.out.mkdir(parents=True, exist_ok=True)
    # A short path: a socket's may have 100 bytes.
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    toml = models.write(folder / "models")
    broken = 0
    with Zygote(folder, toml) as zygote:
        for number, minutes in pieces(seed, arguments.minutes):
            plan = Plan(number, minutes, only=arguments.only, appendfsync=arguments.fsync)
            place = folder / str(number)
            result = run(plan, zygote, toml, place, lambda said: print(said, flush=True))
            path = arguments.out / f"seed-{number}.json"
            path.write_text(result.as_json())
            broken += len(result.verdict.breaches)
            for breach in result.verdict.breaches[:50]:
                print(breach.promise, breach.what)
            print(f"{json.dumps(result.verdict.counts)}\n{path}; history and logs: {place}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
