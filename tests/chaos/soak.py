"""Whether memory grows under lasting load: `python -m tests.chaos.soak --minutes 60`.

Load at 70 % of what the workers can do, with event streams, input pictures and downloads; the
engine of one worker is killed each minute, the other processes live as long as the run. Nothing is
forked from a process with imports: memory is what it is for users. Of each process that lived to
the end: the slope of its own memory (RssAnon) after a warm-up, with its 95 % interval.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError
from scipy.stats import linregress, t

from tests.chaos import audit, models
from tests.chaos.clients import Client, Crowd, follow
from tests.chaos.history import History
from tests.chaos.house import House, Member
from tests.chaos.spawn import Zygote

LOAD = 0.7
SAMPLE_EVERY_S = 2.0
KILL_EVERY_S = 60.0
WARM_UP_SHARE = 1 / 3
BLOCKS = 30
"""Samples close to one another are alike: slopes are fitted to the means of so many stretches."""
LIMIT_MB_PER_H = 1.0
KEPT_EVERY = 15
"""Of so many samples one is told, for whoever asks what a slope hides."""
ENOUGH = 8
"""Of those, to speak of their last half."""
RETENTION_S = 180.0
"""Longer than a client that is held up takes to come back for its job."""
CALIBRATION_JOBS = 60
THREADS = 24
VALKEY = "Valkey's data"

WRONG = ("refused", "astray", "missing", "gave up", "odd")
"""What a history must not tell of, where only engines die."""

Sample = tuple[float, float]
"""Seconds and MiB."""


@dataclass(frozen=True)
class Slope:
    """MiB an hour, and the interval that holds it in 95 of 100 cases."""

    per_h: float
    low: float
    high: float
    first_mb: float
    last_mb: float

    @property
    def grows(self) -> bool:
        return self.low > LIMIT_MB_PER_H


def slope(samples: Sequence[Sample], blocks: int = BLOCKS) -> Slope:
    """Of at least three samples, in order."""
    size = max(len(samples) // min(blocks, len(samples)), 1)
    means = [
        tuple(sum(values) / len(values) for values in zip(*samples[at : at + size], strict=True))
        for at in range(0, len(samples) - size + 1, size)
    ]
    times, memory = zip(*means, strict=True)
    if len(set(memory)) == 1:
        return Slope(0.0, 0.0, 0.0, round(memory[0], 3), round(memory[0], 3))
    line = linregress(times, memory)
    margin = t.ppf(0.975, max(len(means) - 2, 1)) * (line.stderr or 0.0)
    per_h = (value * 3600 for value in (line.slope, line.slope - margin, line.slope + margin))
    return Slope(*(round(value, 3) for value in (*per_h, memory[0], memory[-1])))


def _thinned(samples: Sequence[Sample]) -> list[Sample]:
    began = samples[0][0]
    return [(round(at - began, 1), round(mb, 3)) for at, mb in samples[::KEPT_EVERY]]


@dataclass(frozen=True)
class Soak:
    """What a run comes to."""

    minutes: float
    jobs: int
    per_s: float
    """Jobs asked for in a second."""
    kills: int
    slopes: dict[str, Slope]
    """By process."""
    valkey: Slope
    """Of the memory that Valkey says it uses."""
    keys: tuple[int, int]
    """Of Valkey, at the end of the warm-up and of the run."""
    breaches: list[str]
    samples: dict[str, list[Sample]]
    """By process, and Valkey's: one in `KEPT_EVERY`, seconds counted from the first."""
    notes: list[str] = field(default_factory=list)
    """What was found out afterwards, written into the file by hand."""

    @classmethod
    def of(cls, read: dict[str, Any]) -> Self:
        """From the file that a run wrote."""
        slopes = {name: Slope(**each) for name, each in read["slopes"].items()}
        return cls(**(read | {"slopes": slopes, "valkey": Slope(**read["valkey"])}))


class Run:
    """Load, kills and samples over one house whose processes are all up."""

    def __init__(self, house: House, history: History, seed: int) -> None:
        self._house, self._history, self._seed = house, history, seed
        self._urls = [api.url for api in house.apis()]
        self._samples: dict[str, list[Sample]] = {}
        self._valkey: list[Sample] = []
        self._keys: list[int] = []
        self._kills = 0

    def run(self, minutes: float) -> tuple[float, int]:
        """Returns jobs per second asked for, and how many in all."""
        rng = random.Random(self._seed)
        with ThreadPoolExecutor(THREADS) as pool, self._client(rng) as client:
            crowd = Crowd(lambda: self._urls, self._history, self._seed)
            per_s = LOAD * self._capacity(client, crowd, rng)
            end, due, jobs = time.monotonic() + 60 * minutes, time.monotonic(), 0
            sample_at, kill_at = due, due + KILL_EVERY_S
            while (now := time.monotonic()) < end:
                if now >= due:
                    due += rng.expovariate(per_s)
                    pool.submit(self._live, crowd.body(rng), rng.random())
                    jobs += 1
                if now >= sample_at:
                    sample_at += SAMPLE_EVERY_S
                    self._sample(now)
                if now >= kill_at:
                    kill_at += KILL_EVERY_S
                    self._kill(self._house.members["w2"])
                time.sleep(max(min(due, sample_at, kill_at) - time.monotonic(), 0.001))
        return per_s, jobs

    def result(self, minutes: float, per_s: float, jobs: int, breaches: list[str]) -> Soak:
        warm = int(len(self._valkey) * WARM_UP_SHARE)
        whole = {name: s for name, s in self._samples.items() if len(s) >= 0.9 * len(self._valkey)}
        return Soak(
            minutes=minutes,
            jobs=jobs,
            per_s=round(per_s, 2),
            kills=self._kills,
            slopes={name: slope(samples[warm:]) for name, samples in sorted(whole.items())},
            valkey=slope(self._valkey[warm:]),
            keys=(self._keys[warm], self._keys[-1]),
            breaches=breaches,
            samples={name: _thinned(s) for name, s in {**whole, VALKEY: self._valkey}.items()},
        )

    def _client(self, rng: random.Random) -> Client:
        return Client(lambda: self._urls, self._history, rng)

    def _capacity(self, client: Client, crowd: Crowd, rng: random.Random) -> float:
        """Jobs a second when there is always one to do."""
        jobs = [client.submit(crowd.body(rng)) for _ in range(CALIBRATION_JOBS)]
        began = time.monotonic()
        for job in jobs:
            assert job
            follow(client, job, "wait")
        return CALIBRATION_JOBS / (time.monotonic() - began)

    def _live(self, body: dict[str, object], chance: float) -> None:
        with self._client(random.Random(chance)) as client:
            if job := client.submit(body):
                follow(client, job, "events" if chance < 0.5 else "wait")
                if (seen := client.see(job)) and seen["images"]:
                    client.ask("GET", seen["images"][0]["url"])

    def _sample(self, now: float) -> None:
        for member in self._house.members.values():
            self._note(member.name, member.pid, now)
            engine = self._house.engine_pid(member) if member.kind == "worker" else None
            if engine:
                self._note(f"{member.name}, engine {engine}", engine, now)
        with suppress(RedisError):
            self._valkey.append((now, self._house.redis.info("memory")["used_memory"] / 2**20))
            self._keys.append(self._house.redis.dbsize())

    def _note(self, name: str, pid: int, now: float) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{pid}/status").read_text()
            if "RssAnon:" in status:  # one that has just died has none
                kib = int(status.split("RssAnon:")[1].split()[0])
                self._samples.setdefault(name, []).append((now, kib / 1024))

    def _kill(self, worker: Member) -> None:
        if engine := self._house.engine_pid(worker):
            self._kills += 1
            with suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)


def soak(zygote: Zygote, toml: Path, folder: Path, minutes: float, seed: int) -> Soak:
    settings = {"lease_s": 15, "max_jobs": 4, "retention_s": RETENTION_S}
    folder.mkdir()
    with (
        History(folder / "history.jsonl") as history,
        House(zygote, folder / "h", toml, row_s=0.01, **settings) as house,
    ):
        api = house.start_api(cold=True)
        house.start_keeper(cold=True)
        house.until(partial(house.answers, api), "the API answers")
        for name in ("w1", "w2"):
            house.start_worker(name, cold=True)
            house.until(partial(house.takes_jobs, name), f"{name} is up", 180)
        run = Run(house, history, seed)
        per_s, jobs = run.run(minutes)
        audit.note_last_seen(history, api.url)
        broken = [json.dumps(line) for line in history.lines if line["kind"] in WRONG]
        return run.result(minutes, per_s, jobs, broken + house.unexpected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/chaos/soak.json"))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    toml = models.write(folder / "models")
    with Zygote(folder, toml) as zygote:
        result = soak(zygote, toml, folder / "run", arguments.minutes, arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(asdict(result), indent=1))
    print(told(result))
    growing = [name for name, each in result.slopes.items() if each.grows]
    return bool(growing or result.breaches)


def told(result: Soak) -> str:
    """For people, and for a page."""
    lines = [
        f"{result.minutes:g} minutes, {result.jobs} jobs at {result.per_s:g} a second "
        f"({LOAD:.0%} of what the workers can do), {result.kills} engines killed, "
        f"{len(result.breaches)} promises broken; keys {result.keys[0]} -> {result.keys[1]}.",
        "",
        "| process | MiB an hour | 95 % interval | in the last half | MiB first | last |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, each in {**result.slopes, VALKEY: result.valkey}.items():
        samples = result.samples[name]
        interval = f"{each.low:.2f} to {each.high:.2f}" + (" grows" if each.grows else "")
        half = "short"
        if len(samples) >= ENOUGH:
            later = slope(samples[len(samples) // 2 :])
            half = f"{later.low:.2f} to {later.high:.2f}"
        cells = (name, f"{each.per_h:.2f}", interval, half, f"{each.first_mb:.1f}")
        lines.append("| " + " | ".join([*cells, f"{each.last_mb:.1f}"]) + " |")
    lines += ["", *(f"- {note}" for note in result.notes)]
    return "\n".join([*lines, *result.breaches[:20]])


if __name__ == "__main__":
    sys.exit(main())
