"""The engine's loop: takes jobs in, runs them as one continuous batch, hands them on; owns CUDA,
never waits for Redis or a disk."""

import sys
import time
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

import torch

from darkroom import logs
from darkroom.costs import Work
from darkroom.errors import (
    Canceled,
    DarkroomError,
    DeadlineExceeded,
    JobInterrupt,
    LeaseLost,
    Released,
)
from darkroom.job import JobError
from darkroom.live_catalog import LiveCatalog
from darkroom.offers import Offer, offer
from darkroom.settings import Settings
from darkroom.upscaling import between
from worker import device
from worker.admission import Admission, in_order
from worker.at_work import AtWork
from worker.costs import Costs
from worker.finish import Finisher
from worker.gathering.gather import Ended, Gather
from worker.held import HeldJobs
from worker.intake import Intake
from worker.job_errors import job_error
from worker.leases import Leases
from worker.loaded import LoadedModels
from worker.loading.pipelines import LoadedModel
from worker.making import tasks
from worker.news import Newsroom
from worker.passes import Passes
from worker.previews import previews_of
from worker.pulse import Pulse
from worker.report import Report
from worker.running import RunningJob

log = logs.get("engine")

LONGEST_SLEEP_S = 0.5


@dataclass(eq=False)
class Engine:
    """The loop of one engine process. `run` reads in the order things happen."""

    settings: Settings
    catalog: LiveCatalog
    device: torch.device
    gather: Gather
    models: LoadedModels
    pulse: Pulse
    held: HeldJobs
    intake: Intake
    admission: Admission
    leases: Leases
    newsroom: Newsroom
    finisher: Finisher
    costs: Costs
    passes: Passes
    at_work: AtWork
    _jobs: dict[Hashable, RunningJob] = field(default_factory=dict, init=False)
    """Those that have arrived and are not handed on, by token."""
    _drain_at: float | None = field(default=None, init=False)
    """When the grace period ends, once the engine drains."""

    def run(self) -> None:
        """Serve until drained."""
        self.models.preload(self.catalog.names(self.settings.serves))
        threads = (self.leases, self.newsroom, self.admission.beginning, self.intake, self.costs)
        for thread in threads:
            thread.start()
        while not self.is_drained:
            self.tick()
        self.admission.beginning.close()
        self.newsroom.close()
        self.leases.close()
        self.costs.close()

    def tick(self) -> None:
        """Come round once."""
        arrived = self._take_in()
        # Their service may have read cards that are newer than those known here.
        self._follow_catalog(at_once=arrived)
        self._interrupt()
        self.admission.begin_waiting(self._jobs.values())
        self._start_begun()
        self._step()
        self._settle()
        is_draining, is_idle = self._drain_at is not None, not self.gather.parked
        self.pulse.come_round("draining" if is_draining else "idle" if is_idle else "busy")

    def drain(self) -> None:
        """Claim no more; give back what has not begun. Called from another thread."""
        self._drain_at = time.monotonic() + self.settings.grace_s
        self.held.wake()
        self.intake.close()

    def report(self) -> Report:
        """How the engine is; from any thread."""
        return Report(
            state=self.pulse.state,
            loads=self.pulse.loads,
            tick=self.pulse.ticks,
            finished=self.finisher.succeeded,
            models=self.models.names,
            running=sum(job.claim.began for job in self.held.all()),
            passes=self.gather.forwards,
            joined_passes=self.gather.joined_calls,
            speed=self.costs.speed.value,
            device=str(self.device),
            memory=device.device_memory(self.device),
        )

    @property
    def is_drained(self) -> bool:
        """Whether it was told to drain and holds no job any more."""
        return self._drain_at is not None and not self.intake.is_alive() and len(self.held) == 0

    @property
    def _running(self) -> list[RunningJob]:
        return [job for job in self._jobs.values() if job.started]

    @property
    def _begun(self) -> list[RunningJob]:
        """The jobs that may start."""
        return [job for job in self._jobs.values() if job.claim.began and not job.started]

    @property
    def _busy(self) -> set[str]:
        """The models whose jobs run."""
        return {name for job in self._running for name in job.models}

    def _follow_catalog(self, *, at_once: bool) -> None:
        """Take up what models.toml says by now; what runs goes on as it began."""
        if self.catalog.refresh(at_once=at_once):
            self.models.forget_faults()
        self.models.let_go_removed(self._busy)

    def _take_in(self) -> bool:
        """Take in arrivals, and tell whether there were any; sleep on them when there is nothing
        else to do."""
        is_idle = not self.gather.parked and not self._begun
        arrived = self.held.take_arrived(LONGEST_SLEEP_S if is_idle else 0.0)
        for job in arrived:
            self._jobs[job.claim.token] = job
        return bool(arrived)

    def _interrupt(self) -> None:
        """Throw cancels, lost leases, passed deadlines and the end of grace into their jobs."""
        now = time.monotonic()
        out_of_grace = self._drain_at is not None and now > self._drain_at
        for job in list(self._jobs.values()):
            if job.deadline is not None and now > job.deadline:
                job.interrupt = job.interrupt or DeadlineExceeded()
            elif out_of_grace or (not job.started and self._must_not_start(job)):
                job.interrupt = job.interrupt or Released()
            if job.interrupt is None:
                continue
            if job.started:
                self.gather.throw(job.claim.token, job.interrupt)
            else:
                self._hand_on(job)
                self._end_interrupted(job, job.interrupt)

    def _must_not_start(self, job: RunningJob) -> bool:
        """Whether the engine drains, or the job's model was taken out of models.toml: the queue
        keeps the job, should another worker or the model come."""
        return self._drain_at is not None or job.model not in self.catalog.cards

    def _start_begun(self) -> None:
        """Start what has begun, and load at most one model for it."""
        loaded = self.models.names
        for job in in_order(self._begun, loaded):
            self._start(job)
            if self.models.names != loaded:
                return

    def _start(self, job: RunningJob) -> None:
        """Start the job, unless its model finds no room yet after all."""
        self.at_work.turn_to([job.claim.token])
        try:
            if job.fault is not None:
                raise job.fault
            models = self.models.load_together(job.models, self._busy)
            if models is None:
                return
            model, upscaler = models[0], None
            job.complete(self._offer(model))
            if len(models) > 1:
                asked = between(job.stored, self._offer(models[1]))
                upscaler = tasks.Upscaler(models[1], asked)
            _rest(models)
            self.models.bring(job.model, job.request, alone=job.model not in self._busy)
        except DarkroomError as error:
            self._hand_on(job)
            self.finisher.fail(job, job_error(error))
            return
        enlarging = None
        if upscaler is not None:
            enlarging = upscaler.request.model_dump(mode="json"), upscaler.model.record
        job.started, job.parts = True, Work.parts_of(job.stored, model.record, enlarging)
        job.step_s = tuple(part.calls * self.costs.takes(job, part).pass_s for part in job.parts)
        job.begins(0)
        size, shown = (job.request.width, job.request.height), self.settings.previews
        job.previews = previews_of(job.claim.preview, size, model, shown, job.warn)
        job.enter("encode")
        self.gather.start(
            job.claim.token, lambda: _make(job, model, upscaler), alone=job.request.deterministic
        )

    def _offer(self, model: LoadedModel) -> Offer:
        record = model.record
        return offer(self.catalog, self.catalog.find(record.name), record)

    def _hand_on(self, job: RunningJob) -> None:
        """The loop is done with the job; what becomes of it is for others to write down."""
        del self._jobs[job.claim.token]
        job.handed_on = True

    def _step(self) -> None:
        """One forward for the calls that the batcher chooses."""
        if self.gather.parked:
            self.pulse.enter("busy")
            began = time.monotonic()
            self.passes.make(self._jobs, self._busy)
            self.costs.speed.was_busy(time.monotonic() - began)

    def _settle(self) -> None:
        """Hand ended jobs on."""
        for ended in self.gather.take_ended():
            job = self._jobs[ended.owner]
            self._hand_on(job)
            model, *others = (self.models.use(name) for name in job.models)
            _rest([model, *others])
            entries = map(self.models.entry, job.models)
            if ended.error is None and any(each.is_overwritten for each in entries):
                # Some of its steps may have been made with one network and some with another.
                self._end_interrupted(job, Released())
            elif ended.error is None:
                job.warn(ended.value.warnings)
                repeatable = self._repeatable(job, ended, model)
                self.finisher.succeed(job, ended.value.pictures, repeatable)
            elif isinstance(ended.error, JobInterrupt):
                self._end_interrupted(job, ended.error)
            else:
                self._end_failed(job, ended.error, ended.trace)

    def _end_interrupted(self, job: RunningJob, why: JobInterrupt) -> None:
        if isinstance(why, Canceled | LeaseLost):
            log.info("job_ended", job_id=job.id, outcome=why.code)
            self.held.remove(job)
        elif isinstance(why, DeadlineExceeded):
            message = "The deadline passed before the job was done."
            job.interrupt = None
            self.finisher.cancel(job, JobError(code=why.code, message=message))
        else:
            job.interrupt = None
            self.finisher.give_back(job)

    def _end_failed(self, job: RunningJob, error: BaseException, trace: str) -> None:
        about = {"code": error.code} if isinstance(error, DarkroomError) else {"trace": trace}
        log.error("job_failed", job_id=job.id, **about)
        if device.device_is_lost(error):
            # After such an error nothing runs in this process any more; the supervisor starts
            # another engine and the jobs go back to the queue.
            sys.exit("the device does not answer any more")
        self.finisher.fail(job, job_error(error))

    def _repeatable(self, job: RunningJob, ended: Ended, model: LoadedModel) -> dict[str, object]:
        return {
            "class": "exact" if job.request.deterministic else "close",
            "row_counts": sorted(ended.row_counts),
            "device": str(self.device),
            "dtype": model.record.dtype,
        }


def _rest(models: Iterable[LoadedModel]) -> None:
    """Let what is offloaded wait off the device."""
    for model in models:
        if model.offload is not None:
            model.offload.rest()


def _make(job: RunningJob, model: LoadedModel, upscaler: tasks.Upscaler | None) -> tasks.Outcome:
    """What runs in the job's greenlet."""
    outcome = tasks.run(job.request, model, job.inputs, job, upscaler=upscaler)
    if model.safety is not None:
        job.flagged = model.safety.flagged(outcome.pictures)
    return outcome
