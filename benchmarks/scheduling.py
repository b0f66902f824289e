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
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.scheduling_jobs import COSTS, SHORT, Model, Policy, SimJob, drawn, simulate
from benchmarks.scheduling_policies import POLICIES, TODAY

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
