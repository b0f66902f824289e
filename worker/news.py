"""Tells how far an engine's jobs are; a thread of the engine, apart from the one that extends their
leases; no torch."""

import threading
from contextlib import ExitStack

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.errors import QueueUnavailableError
from darkroom.events import Previewed
from darkroom.queue.previews import Preview
from darkroom.queue.queue import News, Queue
from worker.held import HeldJobs
from worker.running import RunningJob
from worker.vital import Vital

log = logs.get("news")

EVERY_S = 0.2


class Newsroom(Vital):
    """Tells the news of all held jobs in one round trip, several times a second."""

    def __init__(self, *, jobs: Queue, held: HeldJobs) -> None:
        super().__init__(name="news", daemon=True)
        self._jobs, self._held = jobs, held
        self._closed = threading.Event()
        self._completed: set[str] = set()
        """Tokens of jobs whose request was written down."""

    def close(self) -> None:
        """End the thread and wait for it."""
        self._closed.set()
        self.join()

    def work(self) -> None:
        while not self._closed.wait(EVERY_S):
            try:
                self._tell()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", reason=str(error))
                self._closed.wait(AFTER_A_FAULT_S)

    def _tell(self) -> None:
        jobs = [job for job in self._held.all() if job.claim.began]
        self._completed &= {job.claim.token for job in jobs}
        for job in jobs:
            self._complete(job)
        with ExitStack() as locks:
            # One that is locked is about to end, which tells its last news.
            jobs = [job for job in jobs if job.telling.acquire(blocking=False)]
            for job in jobs:
                locks.callback(job.telling.release)
            told = [(job, event) for job in jobs for event in job.news]
            self._jobs.tell([News(job.claim, event, job.spent_so_far()) for job, event in told])
            for job, event in told:
                job.told(event)
        self._jobs.show(preview for job in jobs if (preview := _preview(job)))

    def _complete(self, job: RunningJob) -> None:
        """Before it is told that the job goes on, so that who reads it then finds all of it."""
        request = job.late_request
        if request is not None and job.claim.token not in self._completed:
            self._jobs.complete(job.claim, request)
            self._completed.add(job.claim.token)


def _preview(job: RunningJob) -> Preview | None:
    """The early picture of a job that there is since the last time."""
    early = job.previews.take() if job.previews else None
    if early is None:
        return None
    (width, height), url = early.size, f"/api/v1/jobs/{job.id}/preview"
    event = Previewed(url=url, width=width, height=height, step=early.step, steps=early.steps)
    return Preview(job.claim, event, early.data)
