"""Extends the leases of an engine's jobs and tells how far they are; a thread of the engine, which
talks to Redis on its own; no torch."""

import threading
import time

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.errors import Canceled, LeaseLost, QueueUnavailableError
from darkroom.queue.queue import Queue
from worker.held import HeldJobs
from worker.pulse import Pulse
from worker.running import RunningJob
from worker.vital import Vital

log = logs.get("leases")

PROGRESS_EVERY_S = 0.2


class Leases(Vital):
    """Extends the leases of held jobs, learns which were lost, and tells how far they are."""

    def __init__(
        self,
        *,
        jobs: Queue,
        held: HeldJobs,
        engine: str,
        lease_s: float,
        pulse: Pulse,
        beat_now: threading.Event,
    ) -> None:
        """`pulse`: of the engine's loop; leases of a hung engine shall expire. `beat_now` is set by
        whoever heard that something changed about a job."""
        super().__init__(name="leases", daemon=True)
        self._jobs, self._held, self._engine = jobs, held, engine
        self._every_s = lease_s / 4
        self._pulse, self._beat_now = pulse, beat_now
        self._closed = False
        self._completed: set[str] = set()
        """Tokens of jobs whose request was written down."""

    def close(self) -> None:
        """End the thread and wait for it."""
        self._closed = True
        self._beat_now.set()
        self.join()

    def work(self) -> None:
        beaten_at = time.monotonic()
        while True:
            asked = self._beat_now.wait(PROGRESS_EVERY_S)
            if self._closed:
                return
            try:
                if asked or time.monotonic() - beaten_at >= self._every_s:
                    self._beat_now.clear()
                    self._beat()
                    beaten_at = time.monotonic()
                self._tell_news()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", reason=str(error))
                time.sleep(AFTER_A_FAULT_S)

    def _beat(self) -> None:
        jobs = self._held.all()
        if self._pulse.is_stuck:
            return
        beat = self._jobs.beat(self._engine, [job.claim for job in jobs])
        for token in beat.lost | beat.canceled:
            if job := self._held.get(token):
                job.interrupt = Canceled() if token in beat.canceled else LeaseLost()
                self._held.wake()

    def _tell_news(self) -> None:
        jobs = self._held.all()
        self._completed &= {job.claim.token for job in jobs}
        for job in jobs:
            self._complete(job)
            with job.telling:
                for event in job.news:
                    self._jobs.tell(job.claim, event, job.spent_so_far())
                    job.told(event)

    def _complete(self, job: RunningJob) -> None:
        """Before it is told that the job goes on, so that who reads it then finds all of it."""
        request = job.late_request
        if request is not None and job.claim.token not in self._completed:
            self._jobs.complete(job.claim, request)
            self._completed.add(job.claim.token)
