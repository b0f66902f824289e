"""The jobs that an engine holds, from their claim to their last write; shared by its threads, knows
neither Redis nor torch."""

import queue
import threading
from contextlib import suppress

from worker.running import RunningJob


class HeldJobs:
    """The jobs by token, and the bell of the engine's loop: it sleeps on `take_arrived` when it has
    nothing to do. Safe to use from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, RunningJob] = {}
        self._arrived: queue.SimpleQueue[RunningJob | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def add(self, job: RunningJob) -> None:
        """Hold a job that was claimed; it arrives at the engine's loop."""
        with self._lock:
            self._jobs[job.claim.token] = job
        self._arrived.put(job)

    def remove(self, job: RunningJob) -> None:
        """The engine has no more to do with the job. Its loop takes a look."""
        with self._lock:
            self._jobs.pop(job.claim.token, None)
        self.wake()

    def take_arrived(self, wait_s: float) -> list[RunningJob]:
        """The jobs that came since the last time this was asked. Waits so many seconds for one, or
        until somebody wakes the loop."""
        arrived: list[RunningJob] = []
        with suppress(queue.Empty):
            job = self._arrived.get(block=wait_s > 0, timeout=wait_s)
            while True:
                if job is not None:
                    arrived.append(job)
                job = self._arrived.get_nowait()
        return arrived

    def wake(self) -> None:
        """End the sleep of the engine's loop: there is something to look at."""
        self._arrived.put(None)

    def tell_of_load(self, model: str, share: float) -> None:
        """Let jobs that have begun and wait for the model say which share of its weights has been
        read."""
        for job in self.all():
            if job.claim.began:
                job.tell_of_load(model, share)

    def all(self) -> list[RunningJob]:
        with self._lock:
            return list(self._jobs.values())

    def get(self, token: str) -> RunningJob | None:
        with self._lock:
            return self._jobs.get(token)

    def __len__(self) -> int:
        return len(self._jobs)
