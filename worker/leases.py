"""Extends the leases of an engine's jobs; a thread of the engine with a connection to Redis of its
own, which waits for nothing else; no torch."""

import threading
import time

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.errors import Canceled, LeaseLost, QueueUnavailableError
from darkroom.queue.queue import Queue
from worker.held import HeldJobs
from worker.pulse import Pulse
from worker.vital import Vital

log = logs.get("leases")


class Leases(Vital):
    """Extends the leases of held jobs, all in one round trip, and learns which were lost."""

    def __init__(
        self,
        jobs: Queue,
        held: HeldJobs,
        engine: str,
        *,
        lease_s: float,
        pulse: Pulse,
        beat_now: threading.Event,
    ) -> None:
        """`pulse`: of the engine's loop; leases of a hung engine shall expire. `beat_now` is set by
        whoever heard that something changed about a job."""
        super().__init__(name="leases", daemon=True)
        self._jobs, self._held, self._engine = jobs, held, engine
        self._every_s = lease_s / 4
        self._pause_s = min(AFTER_A_FAULT_S, lease_s / 8)
        self._pulse, self._beat_now = pulse, beat_now
        self._closed = False

    def close(self) -> None:
        """End the thread and wait for it."""
        self._closed = True
        self._beat_now.set()
        self.join()

    def work(self) -> None:
        due = time.monotonic() + self._every_s
        while True:
            self._beat_now.wait(max(due - time.monotonic(), 0.0))
            self._beat_now.clear()
            if self._closed:
                return
            due = time.monotonic() + self._every_s
            try:
                self._beat()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", reason=str(error))
                time.sleep(self._pause_s)
                due = time.monotonic()

    def _beat(self) -> None:
        if self._pulse.is_stuck:
            return
        jobs = self._held.all()
        beat = self._jobs.beat(self._engine, [job.claim for job in jobs])
        for token in beat.lost | beat.canceled:
            if job := self._held.get(token):
                job.interrupt = Canceled() if token in beat.canceled else LeaseLost()
                self._held.wake()
