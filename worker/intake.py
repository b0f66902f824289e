"""The engine's threads that talk to Redis: claims come in, leases and progress go out.

No torch here. While jobs run, the engine's own thread never waits for Redis.
"""

import io
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from PIL import Image

from darkroom import logs
from darkroom.draft import Draft, load_request
from darkroom.errors import (
    Canceled,
    DarkroomError,
    InvalidImageError,
    LeaseLost,
    QueueUnavailableError,
    StoreUnavailableError,
    UnsupportedError,
)
from darkroom.images import ImageStore
from darkroom.input_images import input_images
from darkroom.job import JobError, JobStatus
from darkroom.queue.queue import Claim, Queue, engine_bell, queue_bell, queue_names
from worker.running import RunningJob

log = logs.get("intake")

LET_IDLE_WORKERS_FIRST_S = 0.02
"""A job must have waited so long before an engine that is busy already may take it."""
LET_WORKERS_WITH_ROOM_FIRST_S = 0.5
"""The same for an engine that would only hold it, all its places in a pass being taken."""
AFTER_A_FAULT_S = 0.5
PROGRESS_EVERY_S = 0.2
ROOM_NEEDED = 8 * 2**20
"""Bytes that a store must take again after it was full, so that jobs are not made in vain."""


class Vital(threading.Thread):
    """A thread without which the engine must not go on: what its `work` does not expect ends the
    process, so that the supervisor starts another one and gives the jobs back."""

    def run(self) -> None:
        try:
            self.work()
        except Exception:
            log.exception("thread_died", thread=self.name)
            os._exit(1)


class Held:
    """The jobs this engine holds, by token; shared by the engine and its threads."""

    def __init__(self) -> None:
        self._jobs: dict[str, RunningJob] = {}
        self._lock = threading.Lock()

    def add(self, job: RunningJob) -> None:
        with self._lock:
            self._jobs[job.claim.token] = job

    def remove(self, job: RunningJob) -> None:
        with self._lock:
            self._jobs.pop(job.claim.token, None)

    def all(self) -> list[RunningJob]:
        with self._lock:
            return list(self._jobs.values())

    def get(self, token: str) -> RunningJob | None:
        with self._lock:
            return self._jobs.get(token)

    def __len__(self) -> int:
        return len(self._jobs)


class Intake(Vital):
    """Claims jobs while the engine has room and puts them, with their input pictures, into
    `arrived`. Sleeps on the doorbells in between."""

    def __init__(
        self,
        *,
        jobs: Queue,
        store: ImageStore,
        held: Held,
        engine: str,
        worker: str,
        places: int,
        holds: int,
        preferred: Callable[[], Sequence[str]],
        age_limit_s: float = 30.0,
    ) -> None:
        """`places`: jobs that share a pass; `holds`: jobs to hold at most; `preferred`: the
        models served, those to take first at the head; `age_limit_s`: jobs that waited longer
        than so many seconds go before all others."""
        super().__init__(name="intake", daemon=True)
        self.arrived: queue.SimpleQueue[RunningJob | None] = queue.SimpleQueue()
        self.store_is_full = False
        self._jobs, self._store, self._held = jobs, store, held
        self._engine, self._worker = engine, worker
        self._places, self._holds = places, holds
        self._preferred, self._age_limit_s = preferred, age_limit_s
        self._closed = threading.Event()
        self._token = uuid.uuid4().hex
        self._beat_now: Callable[[], None] = lambda: None

    def on_bell(self, beat_now: Callable[[], None]) -> None:
        """What to do when the engine's own bell rings: one of its jobs was canceled."""
        self._beat_now = beat_now

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
        while not self._closed.is_set() and len(self._held) < self._holds:
            if not self._store_has_room():
                return
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
            self._admit(claim)

    def _min_wait_s(self) -> float:
        held = len(self._held)
        if held == 0:
            return 0.0
        return LET_IDLE_WORKERS_FIRST_S if held < self._places else LET_WORKERS_WITH_ROOM_FIRST_S

    def _wait(self) -> None:
        """Until a bell rings, at most a second: a ring may have gone to another engine."""
        if not self._store_has_room():
            self._closed.wait(AFTER_A_FAULT_S)
            return
        own = engine_bell(self._engine)
        has_room = len(self._held) < self._places
        bells = [own, *(queue_bell(m) for m in self._preferred())] if has_room else [own]
        rung = self._jobs.wait(bells, timeout_s=1.0 if has_room else 0.2)
        if rung == own:
            self._beat_now()
        elif rung and len(self._held):
            self._closed.wait(LET_IDLE_WORKERS_FIRST_S * 1.25)

    def _store_has_room(self) -> bool:
        """Whether pictures can be stored again, after they could not."""
        if self.store_is_full:
            try:
                self._store.check(ROOM_NEEDED)
            except StoreUnavailableError as error:
                log.warning("store_unavailable", reason=str(error))
                return False
            self.store_is_full = False
        return True

    def _admit(self, claim: Claim) -> None:
        try:
            request = load_request(claim.request)
            if isinstance(request, Draft):
                raise UnsupportedError("The job's request is not complete.")
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
            deadline = time.monotonic() + claim.remaining_s
        job = RunningJob(claim, request, inputs, deadline)
        self._held.add(job)
        self.arrived.put(job)

    def _read(self, input_id: str) -> Image.Image:
        data = self._store.read_input(input_id)
        try:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                return image.convert("RGB")
        except Exception as error:  # Pillow raises all kinds; the file was whole when it came
            raise InvalidImageError("The stored input image is damaged; send it again.") from error


class Leases(Vital):
    """Extends the leases of held jobs, learns which were lost, and tells how far they are."""

    def __init__(
        self,
        *,
        jobs: Queue,
        held: Held,
        engine: str,
        lease_s: float,
        alive: Callable[[], bool],
        woke: Callable[[], None],
    ) -> None:
        """`alive`: whether the engine's loop still turns; leases of a hung engine shall expire.
        `woke`: called when a job has to stop, so that an engine that waits learns of it."""
        super().__init__(name="leases", daemon=True)
        self._jobs, self._held, self._engine = jobs, held, engine
        self._every_s = lease_s / 4
        self._alive, self._woke = alive, woke
        self._now = threading.Event()
        self._closed = False
        self._told: dict[str, object] = {}

    def beat_now(self) -> None:
        self._now.set()

    def close(self) -> None:
        """End the thread and wait for it."""
        self._closed = True
        self._now.set()
        self.join()

    def work(self) -> None:
        beaten_at = time.monotonic()
        while True:
            asked = self._now.wait(PROGRESS_EVERY_S)
            if self._closed:
                return
            try:
                if asked or time.monotonic() - beaten_at >= self._every_s:
                    self._now.clear()
                    self._beat()
                    beaten_at = time.monotonic()
                self._tell_progress()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", reason=str(error))
                time.sleep(AFTER_A_FAULT_S)

    def _beat(self) -> None:
        jobs = self._held.all()
        if not self._alive():
            return
        held = self._jobs.beat(self._engine, [job.claim for job in jobs])
        for token in held.lost | held.canceled:
            if job := self._held.get(token):
                job.interrupt = Canceled() if token in held.canceled else LeaseLost()
                self._woke()

    def _tell_progress(self) -> None:
        jobs = self._held.all()
        for job in jobs:
            progress = job.progress
            if self._told.get(job.claim.token) is not progress:
                self._jobs.progress(job.claim, progress)
                self._told[job.claim.token] = progress
        tokens = {job.claim.token for job in jobs}
        self._told = {token: told for token, told in self._told.items() if token in tokens}
