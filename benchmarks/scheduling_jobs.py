"""Jobs, passes and ways to choose as `scheduling.py` imitates them; no engine, no queue."""

import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darkroom.curves import Cost, Curve

COSTS = Path(__file__).with_name("scheduling_costs.json")
STEPS, WEIGHTS = (4, 20, 30, 50), (3, 2, 4, 1)
PLACES = 8
SHORT = min(STEPS)


@dataclass(frozen=True)
class Model:
    """What passes of a model take."""

    name: str
    curve: Curve
    rows: int
    """Of one job."""
    encode_s: float
    decode_s: float

    @classmethod
    def read(cls, name: str) -> "Model":
        told = json.loads(COSTS.read_text())[name]
        like = {"module": "unet", "width": 1, "height": 1, "dtype": "", "passes": 99}
        costs = [
            Cost(rows=told["rows_per_job"] * int(jobs), seconds=ms / 1000, **like)
            for jobs, ms in told["step_ms"].items()
        ]
        ends = (told.get(f"{end}_ms", 0.0) / 1000 for end in ("encode", "decode"))
        return cls(name, Curve.through(costs, 1), told["rows_per_job"], *ends)

    def pass_s(self, jobs: int) -> float:
        return self.curve.seconds(self.rows * jobs)

    def solo_s(self, steps: int) -> float:
        return self.encode_s + steps * self.pass_s(1) + self.decode_s

    @property
    def jobs_per_s(self) -> float:
        """When eight share every pass."""
        steps = sum(s * w for s, w in zip(STEPS, WEIGHTS, strict=True)) / sum(WEIGHTS)
        return 1 / (steps * self.pass_s(PLACES) / PLACES + self.encode_s + self.decode_s)


@dataclass(eq=False)
class SimJob:
    """A job, and how far it is."""

    number: int
    came: float
    steps: int
    model: Model
    left: int = field(init=False)
    stage: str = field(init=False)
    held_at: float = 0.0
    ran_at: float = 0.0
    ticks_waited: int = 0
    is_in_batch: bool = False
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.steps
        self.stage = "encode" if self.model.encode_s else "denoise"

    @property
    def solo_s(self) -> float:
        return self.model.solo_s(self.steps)

    @property
    def remaining_s(self) -> float:
        if self.stage == "decode":
            return self.model.decode_s
        encode_s = self.model.encode_s if self.stage == "encode" else 0.0
        return encode_s + self.left * self.model.pass_s(1) + self.model.decode_s

    @property
    def took(self) -> float:
        return self.ended - self.came


@dataclass(frozen=True)
class Policy:
    """A way to choose; both functions are given what there is, and the time."""

    name: str
    pick: Callable[[Sequence[SimJob], float], Sequence[SimJob]]
    """Who shares the next pass, of those that are held."""
    claim: Callable[[Sequence[SimJob], float], SimJob] = lambda queue, _: queue[0]
    """Who is taken out of the queue next."""
    holds: int = 10**9
    """Jobs that the engine takes out of it at most."""


def simulate(model: Model, policy: Policy, arrivals: Sequence[tuple[float, int]]) -> list[SimJob]:
    """The jobs that came so, each with when it ended."""
    coming = [SimJob(i, came, steps, model) for i, (came, steps) in enumerate(arrivals)][::-1]
    queue: list[SimJob] = []
    held: list[SimJob] = []
    ended: list[SimJob] = []
    now = 0.0
    while coming or queue or held:
        if not queue and not held:
            now = max(now, coming[-1].came)
        while coming and coming[-1].came <= now:
            queue.append(coming.pop())
        while queue and len(held) < policy.holds:
            job = policy.claim(queue, now)
            queue.remove(job)
            job.held_at = job.ran_at = now
            held.append(job)
        chosen = policy.pick(held, now)
        now += make_pass(chosen, model)
        for job in held:
            job.ticks_waited = 0 if job in chosen else job.ticks_waited + 1
        for job in chosen:
            job.ran_at = job.ended = now
        ended += [job for job in chosen if job.stage == "done"]
        held = [job for job in held if job.stage != "done"]
    return ended


def make_pass(chosen: Sequence[SimJob], model: Model) -> float:
    """Bring each a call further; the seconds that takes."""
    first = chosen[0]
    if first.stage != "denoise":
        took = model.encode_s if first.stage == "encode" else model.decode_s
        first.stage = "denoise" if first.stage == "encode" else "done"
        return took
    for job in chosen:
        job.left -= 1
        if job.left == 0:
            job.stage = "decode" if model.decode_s else "done"
    return model.pass_s(len(chosen))


def drawn(per_s: float, jobs: int, seed: int) -> list[tuple[float, int]]:
    draw = random.Random(seed)
    gaps = (draw.expovariate(per_s) for _ in range(jobs))
    return [(at, draw.choices(STEPS, WEIGHTS)[0]) for at in itertools.accumulate(gaps)]
