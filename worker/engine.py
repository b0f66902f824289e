"""The engine: claims jobs, runs them as one continuous batch, hands the pictures on; owns CUDA.

`python -m worker.engine`, started by the supervisor, ends when its standard input closes. Its own
thread runs jobs and touches the device; threads of intake.py and develop.py talk to Redis.
"""

import argparse
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from darkroom import logs
from darkroom.catalog import Models
from darkroom.errors import (
    Canceled,
    DarkroomError,
    DeadlineExceeded,
    DeviceMemoryError,
    JobInterrupt,
    LeaseLost,
    Released,
)
from darkroom.images import ImageStore
from darkroom.job import JobError
from darkroom.networks import stage_of
from darkroom.offers import ModelRecords
from darkroom.queue.connection import connect
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from worker import device
from worker.batcher import Waiting, choose, slack
from worker.finish import Developer
from worker.gathering.gather import Call, Ended, Gather
from worker.gathering.ladder import higher
from worker.gathering.runner import Parts, Runner
from worker.intake import Held, Intake, Leases
from worker.loaded import LoadedModels
from worker.loading.pipelines import LoadedModel
from worker.making import tasks
from worker.report import Report, obey, private_stdout, report_for_ever
from worker.running import RunningJob, unexpected

log = logs.get("engine")

HELD_PER_PLACE = 4
"""Jobs held for each place in a pass, so that a short job can pass a long one."""
PASS_WEIGHT = 0.1
"""How much the newest pass counts in the running mean of their durations."""


class Engine:
    """The loop of one engine process. `run` reads in the order things happen."""

    def __init__(
        self, settings: Settings, jobs: Queue, records: ModelRecords, worker: str, engine: str
    ) -> None:
        self.settings = settings
        self.state = "starting"
        self.turns = 0
        self.finished = 0
        self.turned_at = time.monotonic()
        self.device = device.pick_device(settings.device)
        self.catalog = Models.read(Path(settings.models))
        self.serves = self.catalog.names(settings.serves)
        self.gather = Gather(row_counts=device.row_counts(self.device))
        most_rows: dict[Hashable, int] = {}
        self.models = LoadedModels(
            self.catalog,
            records.put,
            self.gather,
            self.device,
            worker=worker,
            loading=self._loading,
            # What was learned hangs on modules that are gone, whose names new ones can get.
            evicted=most_rows.clear,
            limit_gb=settings.model_memory_gb,
        )
        self._runner = Runner(self.gather, most_rows=most_rows, evict_idle=self.models.evict_idle)
        self._pass_s = 0.1
        self._waiting: list[RunningJob] = []
        self._running: dict[str, RunningJob] = {}
        self._drain_at: float | None = None
        store = ImageStore.of(settings)
        self._held = Held()
        self._developer = Developer(
            jobs,
            store,
            metadata=settings.metadata,
            gone=self._on_gone,
            store_full=self._on_store_full,
        )
        self._intake = Intake(
            jobs=jobs,
            store=store,
            held=self._held,
            engine=engine,
            worker=worker,
            places=settings.max_jobs,
            holds=settings.max_jobs * HELD_PER_PLACE,
            preferred=self._preferred,
            age_limit_s=settings.prefer_loaded_s,
        )
        self._leases = Leases(
            jobs=jobs,
            held=self._held,
            engine=engine,
            lease_s=settings.lease_s,
            alive=lambda: not self.stuck,
            woke=lambda: self._intake.arrived.put(None),
        )
        self._intake.on_bell(self._leases.beat_now)

    def run(self) -> None:
        """Serve until drained."""
        self._preload()
        self._leases.start()
        self._intake.start()
        while not self._drained():
            self._take_in()
            self._interrupt()
            self._start_waiting()
            self._step()
            self._settle()
            self._turn()
        self._leases.close()

    def drain(self) -> None:
        """Claim no more; give back what has not begun. Called from another thread."""
        self._intake.close()
        self._drain_at = time.monotonic() + self.settings.grace_s
        self._intake.arrived.put(None)

    def report(self) -> Report:
        """How the engine is; from any thread."""
        return Report(
            state=self.state,
            tick=self.turns,
            finished=self.finished,
            models=self.models.names,
            running=len(self._held),
            passes=self.gather.forwards,
            joined_passes=self.gather.joined_calls,
            device=str(self.device),
            memory=device.device_memory(self.device),
        )

    @property
    def stuck(self) -> bool:
        """Whether one turn has taken longer than a model call or a load may."""
        loading = self.state in ("starting", "loading")
        limit = self.settings.load_timeout_s if loading else self.settings.step_timeout_s
        return time.monotonic() - self.turned_at > limit

    def _take_in(self) -> None:
        """Move arrivals to the waiting ones; sleep on them when there is nothing else to do."""
        idle = not self.gather.parked and not self._waiting
        with suppress(queue.Empty):
            while True:
                job = self._intake.arrived.get(block=idle, timeout=0.5)
                idle = False
                if job is not None:
                    self._waiting.append(job)

    def _interrupt(self) -> None:
        """Throw cancels, lost leases, passed deadlines and the end of grace into their jobs."""
        now = time.monotonic()
        out_of_grace = self._drain_at is not None and now > self._drain_at
        for job in [*self._running.values(), *self._waiting]:
            if job.deadline is not None and now > job.deadline:
                job.interrupt = job.interrupt or DeadlineExceeded()
            elif out_of_grace or (self._drain_at is not None and not job.started):
                job.interrupt = job.interrupt or Released()
            if job.interrupt is None:
                continue
            if job.started:
                self.gather.throw(job.claim.token, job.interrupt)
            else:
                self._waiting.remove(job)
                self._end_interrupted(job, job.interrupt)

    def _start_waiting(self) -> None:
        """Start what may run now, and load at most one model for it. A job that may have taken an
        engine down before runs alone."""
        loaded = self.models.names
        for job in sorted(self._waiting, key=lambda job: self._turn_of(job, loaded)):
            if any(other.claim.must_run_alone for other in self._running.values()):
                return
            if job.claim.must_run_alone and self._running:
                return
            self._start(job)
            if self.models.names != loaded:
                return

    def _turn_of(self, job: RunningJob, loaded: Sequence[str]) -> int:
        """Jobs that have to run alone go first, then those whose model is there."""
        return 0 if job.claim.must_run_alone else 1 + (job.request.model not in loaded)

    def _start(self, job: RunningJob) -> None:
        """Start the job, unless it has to wait for others to end."""
        name, busy = job.request.model, self._busy
        if self._lets_others_go_first(job):
            return
        if self.catalog.find(name).offload == "model" and name in busy:
            return
        try:
            model = self.models.load(name, busy=busy)
        except DarkroomError as error:
            self._waiting.remove(job)
            self._developer.fail(job, _job_error(error))
            return
        job.needs_room = model is None
        if model is None:
            return
        self._waiting.remove(job)
        job.started = True
        job.enter("encode")
        self._running[job.claim.token] = job
        self.gather.start(
            job.claim.token, lambda: _make(job, model), alone=job.request.deterministic
        )

    @property
    def _busy(self) -> set[str]:
        """The models that have jobs under way."""
        return {job.request.model for job in self._running.values()}

    def _lets_others_go_first(self, job: RunningJob) -> bool:
        """Whether a job waits for room in memory so much longer than this one that the models in
        its way must get no new ones."""
        if self.catalog.find(job.request.model).pinned:
            return False  # which never leaves, so that nobody gains
        patience = job.waited_s + self.settings.prefer_loaded_s
        others = (other for other in self._waiting if other is not job)
        return any(other.needs_room and other.waited_s > patience for other in others)

    def _step(self) -> None:
        """One forward for the calls that the batcher chooses."""
        parked = self.gather.parked
        if not parked:
            return
        self.state = "busy"
        chosen = choose(
            [self._waiting_call(call) for call in parked.values()],
            most_jobs=self.settings.max_jobs,
            most_rows=self._runner.most_rows,
        )
        for token, job in self._running.items():
            job.ticks_waited = 0 if token in chosen else job.ticks_waited + 1
        began = time.monotonic()
        self._run([parked[token] for token in chosen])
        self._pass_s += PASS_WEIGHT * (time.monotonic() - began - self._pass_s)

    def _waiting_call(self, call: Call) -> Waiting:
        job = self._running[call.owner]
        if stage := stage_of(call.module_name):
            job.enter(stage)
        steps = job.progress.steps or job.request.num_inference_steps
        return Waiting(
            owner=call.owner,
            key=call.key,
            rows=call.rows,
            slack_s=slack(
                waited_s=job.waited_s,
                remaining_s=(steps - job.progress.step) * self._pass_s,
                solo_s=steps * self._pass_s,
                priority=job.claim.priority,
                deadline_in_s=job.deadline and job.deadline - time.monotonic(),
            ),
            joinable=call.joinable,
            ticks_waited=job.ticks_waited,
            most_jobs=self.catalog.find(job.request.model).max_jobs,
        )

    def _run(self, calls: Sequence[Call]) -> None:
        """Run `calls` as one; their jobs tell which rung of the memory ladder they needed, and
        one for which nothing helped fails."""
        name = self._running[calls[0].owner].request.model
        parts = Parts(name, self.models.get(name).components)
        for outcome in self._runner.run(calls, parts, self._busy):
            job = self._running[outcome.owner]
            if outcome.error is None:
                job.memory = higher(job.memory, outcome.rung)
            else:
                self.gather.throw(outcome.owner, _too_large(job, outcome.error))

    def _settle(self) -> None:
        """Hand ended jobs on."""
        for ended in self.gather.take_ended():
            job = self._running.pop(ended.owner)
            model = self.models.get(job.request.model)
            if model.offload is not None:
                model.offload.rest()
            if ended.error is None:
                job.warnings.extend(ended.value.warnings)
                repeatable = self._repeatable(job, ended, model)
                self._developer.succeed(job, ended.value.pictures, repeatable)
            elif isinstance(ended.error, JobInterrupt):
                self._end_interrupted(job, ended.error)
            else:
                self._end_failed(job, ended)

    def _end_interrupted(self, job: RunningJob, why: JobInterrupt) -> None:
        if isinstance(why, Canceled | LeaseLost):
            log.info("job_ended", job_id=job.id, outcome=why.code)
            self._on_gone(job, why.code)
        elif isinstance(why, DeadlineExceeded):
            message = "The deadline passed before the job was done."
            job.interrupt = None
            self._developer.cancel(job, JobError(code=why.code, message=message))
        else:
            job.interrupt = None
            self._developer.give_back(job)

    def _end_failed(self, job: RunningJob, ended: Ended) -> None:
        log.error("job_failed", job_id=job.id, trace=ended.trace)
        if device.device_is_lost(ended.error):
            # After such an error nothing runs in this process any more; the supervisor starts
            # another engine and the jobs go back to the queue.
            sys.exit("the device does not answer any more")
        self._developer.fail(job, _job_error(ended.error))

    def _repeatable(self, job: RunningJob, ended: Ended, model: LoadedModel) -> dict[str, object]:
        return {
            "class": "exact" if job.request.deterministic else "close",
            "row_counts": sorted(ended.row_counts),
            "device": str(self.device),
            "dtype": model.record.dtype,
        }

    def _turn(self) -> None:
        self.turns += 1
        self.turned_at = time.monotonic()
        if not self.gather.parked:
            self.state = "idle"
        if self._drain_at is not None:
            self.state = "draining"

    def _drained(self) -> bool:
        return (
            self._drain_at is not None
            and not self._intake.is_alive()
            and len(self._held) == 0
            and self._developer.idle
        )

    def _preload(self) -> None:
        """Load the pinned models and the default, or the first served, so that the first job need
        not wait."""
        first = self.catalog.default if self.catalog.default in self.serves else self.serves[0]
        pinned = [name for name in self.serves if self.catalog.cards[name].pinned]
        for name in dict.fromkeys([*pinned, first]):
            # A fault is logged and told where it is noticed; other models can still be served.
            with suppress(DarkroomError):
                self.models.get(name)

    @contextmanager
    def _loading(self) -> Iterator[None]:
        self.state, self.turned_at = "loading", time.monotonic()
        try:
            yield
        finally:
            self.turned_at = time.monotonic()

    def _preferred(self) -> list[str]:
        """The models served, loaded ones first."""
        return sorted(self.serves, key=lambda name: name not in self.models.names)

    def _on_gone(self, job: RunningJob, outcome: str) -> None:
        self._held.remove(job)
        self.finished += outcome == "succeeded"
        self._intake.arrived.put(None)

    def _on_store_full(self) -> None:
        self._intake.store_is_full = True


def _make(job: RunningJob, model: LoadedModel) -> tasks.Outcome:
    """What runs in the job's greenlet."""
    outcome = tasks.run(job.request, model, job.inputs, job)
    if model.safety is not None:
        job.flagged = model.safety.flagged(outcome.pictures)
    return outcome


def _too_large(job: RunningJob, error: DeviceMemoryError) -> DeviceMemoryError:
    request = job.request
    return DeviceMemoryError(
        f"The model {request.model!r} has too little memory for {request.num_images} x "
        f"{request.width} x {request.height}: {error}, and nothing that was tried helped. "
        "Ask for a smaller size or fewer pictures."
    )


def _job_error(error: BaseException) -> JobError:
    if isinstance(error, DarkroomError):
        return JobError(code=error.code, message=str(error), retryable=error.retryable)
    return unexpected(error)


def main() -> None:
    parser = argparse.ArgumentParser(description="Darkroom's engine; the supervisor starts it.")
    parser.add_argument("--worker", required=True)
    parser.add_argument("--engine", required=True)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    out = private_stdout()
    settings = Settings()
    logs.setup(settings, process="engine", worker=arguments.worker)
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    redis = connect(settings.redis_url)
    jobs = Queue.of(redis, settings)
    engine = Engine(settings, jobs, ModelRecords(redis), arguments.worker, arguments.engine)
    for work in (lambda: report_for_ever(engine.report, out), lambda: obey(engine.drain)):
        threading.Thread(target=work, daemon=True).start()
    engine.run()
    log.info("drained")


if __name__ == "__main__":
    main()
    # All that matters is written by now, and taking torch apart in order can take seconds.
    os._exit(0)
