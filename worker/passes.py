"""Makes one pass after the other of the calls at which jobs are parked; engine thread of worker.

It shows the batcher what there is, runs what that chooses, and tells the cost model what it took.
"""

import time
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch

from darkroom import logs
from darkroom.costs import DECODE, ENCODE
from darkroom.curves import Curve
from darkroom.networks import stage_of
from worker.at_work import AtWork
from worker.batcher import Candidate, PassCost, choose
from worker.costs import Costs
from worker.device import Stopwatch, is_shared
from worker.gathering.gather import Call, Gather
from worker.gathering.ladder import higher
from worker.gathering.runner import Parts, Runner
from worker.job_errors import too_large
from worker.ledger import Ledger
from worker.loaded import LoadedModels
from worker.loading.tuning import Compiling
from worker.running import RunningJob

log = logs.get("passes")


class Passes:
    """The passes of one engine."""

    def __init__(
        self,
        gather: Gather,
        runner: Runner,
        costs: Costs,
        models: LoadedModels,
        device: torch.device,
        at_work: AtWork,
        *,
        max_jobs: int,
    ) -> None:
        """`max_jobs`: jobs that may share a pass."""
        self.runner = runner
        self._gather, self._costs, self._models = gather, costs, models
        self._device, self._stopwatch = device, Stopwatch(device)
        self._at_work, self._max_jobs = at_work, max_jobs
        self._ledger = Ledger()

    def make(self, jobs: Mapping[Hashable, RunningJob], busy: Collection[str]) -> None:
        """Make the next pass of parked calls, each of which belongs to one of `jobs`. Models in
        `busy` stay in memory."""
        self._stopwatch.tell()
        parked = self._gather.parked
        claims = [jobs[owner].claim for owner in parked]
        self._ledger.present({claim.owner: claim.weight for claim in claims})
        costs = {
            call.key: self._hoped_s(self._costs.curve(jobs[call.owner], call.module_name))
            for call in parked.values()
            if call.joinable
        }
        choice = choose(
            [self._candidate(call, jobs[call.owner]) for call in parked.values()],
            max_jobs=self._max_jobs,
            most_rows=self.runner.most_rows,
            costs=costs,
            behind=len(jobs) - len(parked),
            ahead=self._ledger.ahead,
        )
        self._run([parked[owner] for owner in choice.owners], jobs, busy, choice.worth)

    def _candidate(self, call: Call, job: RunningJob) -> Candidate:
        if stage := stage_of(call.module_name):
            job.enter(stage)
        now, progress = time.monotonic(), job.progress
        parts = [(work, self._costs.takes(job, work)) for work in job.parts]
        _, last = parts[-1]
        done = progress.step / progress.steps if progress.steps else 0.0
        all_passes = sum(work.rounds * work.passes for work, _ in parts)
        all_s = sum(work.rounds * work.passes * takes.pass_s for work, takes in parts)
        passes = max(round(all_passes * (1 - done)), 1)
        remaining_s = last.decode_s
        if progress.stage != DECODE:
            remaining_s += passes * all_s / max(all_passes, 1)
        if progress.stage == ENCODE:
            remaining_s += last.encode_s
        return Candidate(
            owner=call.owner,
            key=call.key,
            rows=call.rows,
            joinable=call.joinable,
            prepares=progress.stage == ENCODE,
            passes=passes,
            remaining_s=remaining_s,
            solo_s=sum(takes.solo_s(work) for work, takes in parts),
            held_s=now - job.claimed_at,
            priority=job.claim.priority,
            deadline_in_s=job.deadline and job.deadline - now,
            max_jobs=self._models.entry(job.made_by).card.max_jobs,
            client=job.claim.owner,
            weight=job.claim.weight,
        )

    def _run(
        self,
        calls: Sequence[Call],
        jobs: Mapping[Hashable, RunningJob],
        busy: Collection[str],
        worth: Mapping[str, float],
    ) -> None:
        """Run `calls` as one, which is `worth` so much to clients; their jobs tell which rung of
        the memory ladder they needed, and one for which nothing helped fails."""
        first, sharing = calls[0], [jobs[call.owner] for call in calls]
        model = sharing[0].made_by
        parts = Parts(model, self._models.get(model).components)
        rows = sharing[0].work.rows
        if first.joinable:
            rows = self._gather.padded(sum(call.rows for call in calls))

        def run() -> bool:
            """Whether all went as it usually does."""
            with self._compiling(sharing) as compiling:
                outcomes = self.runner.run(calls, parts, busy)
            for outcome in outcomes:
                job = jobs[outcome.owner]
                if outcome.rung is not None:
                    job.needed(higher(job.memory, outcome.rung))
                if outcome.error is not None:
                    # Models without jobs have left by now, unless they always stay.
                    others = any(other.started for other in jobs.values() if other is not job)
                    again = others or is_shared(self._device)
                    error = too_large(job, outcome.error, retryable=again)
                    self._gather.throw(outcome.owner, error)
            return not outcomes and not compiling.seconds

        learn = self._costs.seeing(sharing, first.module_name, rows)

        def took(seconds: float) -> None:
            learn(seconds)
            self._ledger.passed(seconds, worth)

        self._at_work.turn_to(job.claim.token for job in sharing)
        self._stopwatch.time(run, took)

    def _hoped_s(self, curve: Curve) -> PassCost:
        """What passes cost by their rows, all of which that are padded to the same are one kind: 14
        rows that were slow once must not seem dearer than 16, nor the other way round."""
        return lambda rows: curve.hoped_s(self._gather.padded(rows))

    @contextmanager
    def _compiling(self, jobs: Sequence[RunningJob]) -> Iterator[Compiling]:
        """Around a pass of `jobs`: where torch compiles within, it has the time of a load, and they
        tell that."""
        if not self._models.entry(jobs[0].made_by).card.compile:
            yield Compiling()  # not entered, as that imports much of torch
            return
        with ExitStack() as load, Compiling(lambda: self._call_it_loading(jobs, load)) as compiling:
            yield compiling
        if compiling.seconds:
            width, height = jobs[0].work.size
            about = {"model": jobs[0].made_by, "width": width, "height": height}
            log.info("model_compiled", **about, seconds=round(compiling.seconds, 3))

    def _call_it_loading(self, jobs: Sequence[RunningJob], load: ExitStack) -> None:
        load.enter_context(self._models.loading(jobs[0].made_by))
        for job in jobs:
            load.enter_context(job.compiling())
