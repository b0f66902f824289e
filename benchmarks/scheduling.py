"""What jobs wait for under each way to choose who runs next: a simulation over recorded costs.

    python -m benchmarks.scheduling [--jobs 500] [--seeds 5] [--models sd15-h200] [--loads 1.2 2]
    python -m benchmarks.scheduling --record [--model emoji]

Jobs of 4, 20, 30 and 50 steps (3 : 2 : 4 : 1) come at random moments to one engine. Load 1 is what
it can do when eight share every pass. What a pass takes by the jobs in it is in
`scheduling_costs.json`; `--record` measures the demo model on this machine and writes it there. For
ours `worker.batcher.choose` itself is called at every pass, with the claims as the queue makes
them; the others stand in `scheduling_policies.py`.
"""

import argparse
import itertools
import json
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from darkroom.costs import Cost, Curve

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


HEADS = ("mean s", "p95", "p99", "4 steps", "in 3 x solo", "worst wait", "jobs/s", "mean / today")


@dataclass
class Result:
    """What came of all runs of a policy under a load."""

    jobs: list[SimJob] = field(default_factory=list)
    makespan: float = 0.0

    def add(self, jobs: list[SimJob]) -> None:
        self.jobs += jobs
        self.makespan += max(job.ended for job in jobs)

    @property
    def mean_s(self) -> float:
        return statistics.fmean(job.took for job in self.jobs)

    @property
    def short_s(self) -> float:
        return statistics.fmean(job.took for job in self.jobs if job.steps == SHORT)

    @property
    def jobs_per_s(self) -> float:
        return len(self.jobs) / self.makespan

    def cells(self, today: "Result") -> list[str]:
        took = sorted(job.took for job in self.jobs)
        in_time = sum(job.took <= 3 * job.solo_s for job in self.jobs) / len(self.jobs)
        late = [took[int(share * len(took))] for share in (0.95, 0.99)]
        wait = max(job.took - job.solo_s for job in self.jobs)
        numbers = [f"{each:.3g}" for each in (self.mean_s, *late, self.short_s)]
        more = [f"{wait:.3g}", f"{self.jobs_per_s:.3g}", f"{self.mean_s / today.mean_s:.2f}"]
        return [*numbers, f"{in_time:.0%}", *more]


def drawn(per_s: float, jobs: int, seed: int) -> list[tuple[float, int]]:
    draw = random.Random(seed)
    gaps = (draw.expovariate(per_s) for _ in range(jobs))
    return [(at, draw.choices(STEPS, WEIGHTS)[0]) for at in itertools.accumulate(gaps)]


def compare(
    model: Model, load: float, policies: Sequence[Policy], *, jobs: int, seeds: int
) -> dict[str, Result]:
    """What comes of each policy, of the same jobs."""
    results = {policy.name: Result() for policy in policies}
    for seed, policy in itertools.product(range(seeds), policies):
        done = simulate(model, policy, drawn(load * model.jobs_per_s, jobs, seed))
        results[policy.name].add(done)
    return results


def main() -> None:
    from benchmarks.scheduling_policies import POLICIES, TODAY

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(json.loads(COSTS.read_text())))
    parser.add_argument("--loads", nargs="+", type=float, default=[0.5, 0.8, 1.0, 1.2, 1.5, 2.0])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="measure the demo model, then end")
    parser.add_argument("--model", default="emoji", help="whose costs to record")
    options = parser.parse_args()
    if options.record:
        from benchmarks.scheduling_record import record

        record(options.model)
        return
    for name, load in itertools.product(options.models, options.loads):
        model = Model.read(name)
        results = compare(model, load, POLICIES, jobs=options.jobs, seeds=options.seeds)
        title = f"{name}, load {load}, {options.seeds} times {options.jobs} jobs"
        table = Table("policy", *HEADS, title=title)
        for policy, result in results.items():
            table.add_row(policy, *result.cells(results[TODAY.name]))
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
