"""Claims jobs and reads their input pictures; a thread of the engine, so that its own never waits
for Redis or a disk; no torch."""

import io
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from PIL import Image

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.draft import load_request
from darkroom.errors import (
    DarkroomError,
    InvalidImageError,
    ModelNotFoundError,
    QueueUnavailableError,
    StoreUnavailableError,
)
from darkroom.images import ImageStore
from darkroom.input_images import input_images
from darkroom.job import JobError, JobStatus
from darkroom.queue.claim import Claim
from darkroom.queue.queue import Queue, engine_bell, queue_bell, queue_names
from worker.held import HeldJobs
from worker.running import RunningJob
from worker.vital import Vital

log = logs.get("intake")

LET_IDLE_WORKERS_FIRST_S = 0.02
"""A job must have waited so long before an engine that is busy already may take it."""
LET_WORKERS_WITH_ROOM_FIRST_S = 0.5
"""The same for an engine that would only hold it, a pass of its being full."""
ROOM_NEEDED = 8 * 2**20
"""Bytes that a store must take again after it was full, so that jobs are not made in vain."""


class Intake(Vital):
    """Claims jobs while the engine has room and adds them, with their input pictures, to those it
    holds. Sleeps on the doorbells in between."""

    def __init__(
        self,
        *,
        jobs: Queue,
        store: ImageStore,
        held: HeldJobs,
        engine: str,
        worker: str,
        max_jobs: int,
        max_held: int,
        preferred: Callable[[], Sequence[str]],
        beat_now: threading.Event,
        store_is_full: threading.Event,
        age_limit_s: float = 30.0,
    ) -> None:
        """`max_jobs`: jobs that share a pass; `max_held`: jobs to hold; `preferred`: the models
        served, those to take first at the head; `age_limit_s`: jobs that waited longer than so many
        seconds go before all others. Sets `beat_now` when the engine's own bell rings: one of its
        jobs was canceled. `store_is_full`: set by whoever could not store a picture, cleared here
        once the store takes some again."""
        super().__init__(name="intake", daemon=True)
        self._jobs, self._store, self._held = jobs, store, held
        self._engine, self._worker = engine, worker
        self._max_jobs, self._max_held = max_jobs, max_held
        self._preferred, self._age_limit_s = preferred, age_limit_s
        self._closed = threading.Event()
        self._token = uuid.uuid4().hex
        self._beat_now, self._store_is_full = beat_now, store_is_full

    def close(self) -> None:
        """Claim no more; a claim under way still arrives."""
        self._closed.set()

    def work(self) -> None:
        while not self._closed.is_set():
            try:
                self._take_what_fits()
                self._wait()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", reason=str(error))
                self._closed.wait(AFTER_A_FAULT_S)

    def _take_what_fits(self) -> None:
        while not self._closed.is_set() and len(self._held) < self._max_held:
            if not self._store_has_room():
                return
            claimed_at = time.monotonic()
            claim = self._jobs.claim(
                engine=self._engine,
                worker=self._worker,
                queues=queue_names(self._preferred()),
                token=self._token,
                min_wait_s=self._min_wait_s(),
                age_limit_s=self._age_limit_s,
            )
            if claim is None:
                return
            self._token = uuid.uuid4().hex
            self._admit(claim, claimed_at)

    def _min_wait_s(self) -> float:
        held = len(self._held)
        if held == 0:
            return 0.0
        return LET_IDLE_WORKERS_FIRST_S if held < self._max_jobs else LET_WORKERS_WITH_ROOM_FIRST_S

    def _wait(self) -> None:
        """Until a bell rings, at most a second: a ring may have gone to another engine."""
        if not self._store_has_room():
            self._closed.wait(AFTER_A_FAULT_S)
            return
        own = engine_bell(self._engine)
        has_room = len(self._held) < self._max_jobs
        bells = [own, *(queue_bell(m) for m in self._preferred())] if has_room else [own]
        rung = self._jobs.wait(bells, timeout_s=1.0 if has_room else 0.2)
        if rung == own:
            self._beat_now.set()
        elif rung and len(self._held):
            self._closed.wait(LET_IDLE_WORKERS_FIRST_S * 1.25)

    def _store_has_room(self) -> bool:
        """Whether pictures can be stored again, after they could not."""
        if self._store_is_full.is_set():
            try:
                self._store.check(ROOM_NEEDED)
            except StoreUnavailableError as error:
                log.warning("store_unavailable", reason=str(error))
                return False
            self._store_is_full.clear()
        return True

    def _admit(self, claim: Claim, claimed_at: float) -> None:
        try:
            asked = load_request(claim.request)
            if asked.model not in self._preferred():
                raise ModelNotFoundError(asked.model)
            pictures = input_images(claim.request).items()
            inputs = {place: self._read(input_id) for place, input_id in pictures}
        except StoreUnavailableError as error:
            log.error("store_unavailable", job_id=claim.job_id, reason=str(error))
            self._jobs.release(claim)
            self._closed.wait(AFTER_A_FAULT_S)
            return
        except DarkroomError as error:
            log.warning("job_refused", job_id=claim.job_id, code=error.code)
            refused = JobError(code=error.code, message=str(error))
            self._jobs.finish(claim, JobStatus.FAILED, error=refused)
            return
        deadline = None
        if claim.remaining_s is not None:
            deadline = claimed_at + claim.remaining_s
        self._held.add(RunningJob(claim, asked, inputs, deadline, claimed_at))

    def _read(self, input_id: str) -> Image.Image:
        data = self._store.read_input(input_id)
        try:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow raises all kinds; the file was whole when it came
            raise InvalidImageError("The stored input image is damaged; send it again.") from error
