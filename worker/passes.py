"""Makes one pass after the other of the calls at which jobs are parked; engine thread of worker.

It shows the batcher what there is, runs what that chooses, and tells the cost model what it took.
"""

import time
from collections.abc import Collection, Hashable, Mapping, Sequence

import torch

from darkroom.networks import stage_of
from worker.batcher import Candidate, choose, slack
from worker.costs import Costs
from worker.device import Stopwatch
from worker.gathering.gather import Call, Gather
from worker.gathering.ladder import higher
from worker.gathering.runner import Parts, Runner
from worker.loaded import LoadedModels
from worker.running import RunningJob, too_large


class Passes:
    """The passes of one engine."""

    def __init__(
        self,
        gather: Gather,
        runner: Runner,
        costs: Costs,
        models: LoadedModels,
        device: torch.device,
        *,
        max_jobs: int,
    ) -> None:
        """`max_jobs`: jobs that may share a pass."""
        self.runner = runner
        self._gather, self._costs, self._models = gather, costs, models
        self._stopwatch = Stopwatch(device)
        self._max_jobs = max_jobs

    def make(self, jobs: Mapping[Hashable, RunningJob], busy: Collection[str]) -> None:
        """Make the next pass of parked calls, each of which belongs to one of `jobs`. Models in
        `busy` stay in memory."""
        self._stopwatch.tell()
        parked = self._gather.parked
        chosen = choose(
            [self._candidate(call, jobs[call.owner]) for call in parked.values()],
            max_jobs=self._max_jobs,
            most_rows=self.runner.most_rows,
        )
        for owner in parked:
            job = jobs[owner]
            job.ticks_waited = 0 if owner in chosen else job.ticks_waited + 1
        self._run([parked[owner] for owner in chosen], jobs, busy)

    def _candidate(self, call: Call, job: RunningJob) -> Candidate:
        if stage := stage_of(call.module_name):
            job.enter(stage)
        steps = job.progress.steps or job.request.num_inference_steps
        pass_s = self._costs.curve(job, self._costs.network(job)).seconds(job.work.rows)
        return Candidate(
            owner=call.owner,
            key=call.key,
            rows=call.rows,
            slack_s=slack(
                waited_s=job.waited_s,
                remaining_s=(steps - job.progress.step) * pass_s,
                solo_s=steps * pass_s,
                priority=job.claim.priority,
                deadline_in_s=job.deadline and job.deadline - time.monotonic(),
            ),
            joinable=call.joinable,
            ticks_waited=job.ticks_waited,
            max_jobs=self._models.card(job.model).max_jobs,
        )

    def _run(
        self, calls: Sequence[Call], jobs: Mapping[Hashable, RunningJob], busy: Collection[str]
    ) -> None:
        """Run `calls` as one; their jobs tell which rung of the memory ladder they needed, and
        one for which nothing helped fails."""
        first, sharing = calls[0], [jobs[call.owner] for call in calls]
        model = sharing[0].model
        parts = Parts(model, self._models.get(model).components)
        rows = sum(call.rows for call in calls) if first.joinable else sharing[0].work.rows

        def run() -> bool:
            """Whether all went as it usually does."""
            outcomes = self.runner.run(calls, parts, busy)
            for outcome in outcomes:
                job = jobs[outcome.owner]
                if outcome.rung is not None:
                    job.memory = higher(job.memory, outcome.rung)
                if outcome.error is not None:
                    self._gather.throw(outcome.owner, too_large(job, outcome.error))
            return not outcomes

        self._stopwatch.time(run, self._costs.seeing(sharing, first.module_name, rows))
