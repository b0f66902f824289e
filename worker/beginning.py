"""Begins the jobs that the engine's loop wants to start, and reads their input pictures; a thread
of the engine, so that its own never waits for Redis or a disk; no torch."""

import io
import queue
import time
from collections.abc import Mapping

from PIL import Image

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.errors import (
    DarkroomError,
    InvalidImageError,
    LeaseLost,
    QueueUnavailableError,
    Released,
    StoreUnavailableError,
)
from darkroom.images import ImageStore
from darkroom.input_images import Place, input_images
from darkroom.queue.claim import Claim
from darkroom.queue.queue import Queue
from worker.at_work import AtWork
from worker.held import HeldJobs
from worker.running import RunningJob
from worker.vital import Vital

log = logs.get("beginning")


class Beginning(Vital):
    """Tells the queue of each job that it begins, and the job when it may start."""

    def __init__(
        self, *, jobs: Queue, store: ImageStore, held: HeldJobs, worker: str, at_work: AtWork
    ) -> None:
        super().__init__(name="beginning", daemon=True)
        self._jobs, self._store, self._held = jobs, store, held
        self._worker, self._at_work = worker, at_work
        self._asked: queue.SimpleQueue[RunningJob | None] = queue.SimpleQueue()

    def ask(self, job: RunningJob) -> None:
        """Begin a held job; the loop is woken once it may start, or must end."""
        job.asked_to_begin = True
        self._asked.put(job)

    def close(self) -> None:
        """End the thread once all that was asked for is done."""
        self._asked.put(None)

    def work(self) -> None:
        while (job := self._asked.get()) is not None:
            self.begin(job)
            self._held.wake()

    def begin(self, job: RunningJob) -> None:
        """Begin one job, and read what it needs."""
        claim = self._until_answered(job)
        if claim is None:
            job.interrupt = job.interrupt or LeaseLost()
            return
        try:
            with self._at_work.on(claim.token):
                job.inputs = self._inputs(claim)
        except StoreUnavailableError as error:
            log.error("store_unavailable", job_id=job.id, reason=str(error))
            job.interrupt = job.interrupt or Released()
            time.sleep(AFTER_A_FAULT_S)
        except DarkroomError as error:
            log.warning("job_refused", job_id=job.id, code=error.code)
            job.fault = error
        job.begin(claim)

    def _until_answered(self, job: RunningJob) -> Claim | None:
        """The claim, begun; None: the job is not, or must not be, the engine's any more."""
        while job.interrupt is None:
            try:
                return self._jobs.begin(job.claim, self._worker)
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", job_id=job.id, reason=str(error))
                time.sleep(AFTER_A_FAULT_S)
        return None

    def _inputs(self, claim: Claim) -> Mapping[Place, Image.Image]:
        pictures = input_images(claim.request).items()
        return {place: self._read(input_id) for place, input_id in pictures}

    def _read(self, input_id: str) -> Image.Image:
        data = self._store.read_input(input_id)
        try:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow raises all kinds; the file was whole when it came
            raise InvalidImageError("The stored input image is damaged; send it again.") from error
