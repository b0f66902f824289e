"""Claims jobs; a thread of the engine, so that its own never waits for Redis; no torch."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from darkroom import logs
from darkroom.back_off import AFTER_A_FAULT_S
from darkroom.draft import load_request
from darkroom.errors import (
    DarkroomError,
    ModelNotFoundError,
    QueueUnavailableError,
    StoreUnavailableError,
)
from darkroom.images import ImageStore
from darkroom.job import JobError, JobStatus
from darkroom.queue.claim import Claim
from darkroom.queue.queue import Queue, engine_bell, queue_bell, queue_names, room_bell
from worker.admission import places_due
from worker.held import HeldJobs
from worker.running import RunningJob
from worker.vital import Vital

log = logs.get("intake")

LET_IDLE_WORKERS_FIRST_S = 0.02
"""A job must have waited so long before an engine that is busy already may take it."""
LET_WORKERS_WITH_ROOM_FIRST_S = 0.5
"""The same for an engine that would only hold it, all its places being taken."""
LET_WORKERS_WITH_PLACES_FIRST_S = 0.1
"""The same for one that would begin it beside all that have their places."""
ROOM_NEEDED = 8 * 2**20
"""Bytes that a store must take again after it was full, so that jobs are not made in vain."""


class Intake(Vital):
    """Claims the jobs that the engine has places for, and a few to come after them (look-ahead),
    and adds them to those it holds. Sleeps on the doorbells in between."""

    def __init__(
        self,
        *,
        jobs: Queue,
        store: ImageStore,
        held: HeldJobs,
        engine: str,
        places: int,
        look_ahead: int,
        serves: Callable[[], Sequence[str]],
        loaded: Callable[[], Collection[str]],
        is_ready: Callable[[], bool],
        beat_now: threading.Event,
        store_is_full: threading.Event,
        prefer_loaded_s: float = 30.0,
    ) -> None:
        """`serves`: the models whose jobs are taken; `places`: jobs that may be under way;
        `look_ahead`: jobs to hold beside them; `loaded`: the models in memory, whose jobs count as
        if they had waited `prefer_loaded_s` longer; `is_ready`: whether the engine's loop comes
        round, and does not load a model. Sets `beat_now` when the engine's own bell rings: one of
        its jobs was canceled, or taken by another engine. `store_is_full`: set by whoever could not
        store a picture, cleared here once the store takes some again."""
        super().__init__(name="intake", daemon=True)
        self._jobs, self._store, self._held = jobs, store, held
        self._engine, self._serves = engine, serves
        self._places, self._look_ahead = places, look_ahead
        self._loaded, self._is_ready = loaded, is_ready
        self._prefer_loaded_s = prefer_loaded_s
        self._closed = threading.Event()
        self._token = uuid.uuid4().hex
        self._beat_now, self._store_is_full = beat_now, store_is_full

    def close(self) -> None:
        """Claim no more; a claim under way still arrives."""
        self._closed.set()
        with suppress(QueueUnavailableError):  # then no thread of ours sleeps on a bell for long
            self._jobs.ring(engine_bell(self._engine))

    def work(self) -> None:
        while not self._closed.is_set():
            try:
                self.take_what_fits()
                self._wait()
            except QueueUnavailableError as error:
                log.warning("queue_unavailable", reason=str(error))
                self._closed.wait(AFTER_A_FAULT_S)
        # The engine's loop may wait for the end of this thread.
        self._held.wake()

    def take_what_fits(self) -> None:
        """Claim as many jobs as the engine may hold, or as there are.

        Raises QueueUnavailableError."""
        while not self._closed.is_set() and (queues := self._queues()):
            if not self._store_has_room():
                return
            claimed_at = time.monotonic()
            claim = self._jobs.claim(
                engine=self._engine,
                queues=queues,
                token=self._token,
                loaded=self._loaded(),
                min_wait_s=self._min_wait_s(),
                prefer_loaded_s=self._prefer_loaded_s,
                take_from_others=self._has_place and not self._to_begin and self._is_ready(),
                enough=self._with_enough(),
            )
            if claim is None:
                return
            was_full, self._token = self._is_full, uuid.uuid4().hex
            self._admit(claim, claimed_at)
            if was_full and claim.priority != "high":
                return  # the next one may be for another engine

    @property
    def _at_hand(self) -> list[RunningJob]:
        """The jobs that take a place, or wait for one."""
        return [job for job in self._held.all() if not job.handed_on]

    @property
    def _to_begin(self) -> int:
        """Jobs that wait for a place."""
        return sum(not job.is_under_way for job in self._at_hand)

    @property
    def _has_place(self) -> bool:
        return len(self._at_hand) < self._places

    @property
    def _is_full(self) -> bool:
        """Whether no more is claimed but what begins before a place is free."""
        return len(self._at_hand) >= self._places + self._look_ahead

    def _queues(self) -> list[str]:
        """Those to claim from, none if enough is held; none is claimed beside one that has to run
        alone."""
        held = self._at_hand
        if any(job.claim.must_run_alone for job in held):
            return []
        is_enough = len(held) >= 2 * self._places + self._look_ahead
        return [] if is_enough else queue_names(self._serves())

    def _with_enough(self) -> list[str]:
        """Once the engine is full: clients of whose jobs it holds as many as are due to them.
        Those of others are claimed before a place is free, as those of high priority are."""
        if not self._is_full:
            return []
        claims = [job.claim for job in self._at_hand]
        held, due = Counter(claim.owner for claim in claims), places_due(claims, self._places)
        return [owner for owner in held if held[owner] >= due[owner]]

    def _min_wait_s(self) -> float:
        if not self._at_hand:
            return 0.0
        if self._is_full:
            return LET_WORKERS_WITH_PLACES_FIRST_S
        return LET_IDLE_WORKERS_FIRST_S if self._has_place else LET_WORKERS_WITH_ROOM_FIRST_S

    def _wait(self) -> None:
        """Until a bell rings, at most a second: a ring may have gone to another engine."""
        if not self._store_has_room():
            self._closed.wait(AFTER_A_FAULT_S)
            return
        own = engine_bell(self._engine)
        has_place = self._has_place
        bells = [own, room_bell(self._engine)]
        bells += [queue_bell(model) for model in self._serves()] if has_place else []
        rung = self._jobs.wait(bells, timeout_s=1.0 if has_place else 0.2)
        if rung == own:
            self._beat_now.set()
        elif rung in bells[2:] and self._at_hand:
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
            if asked.model not in self._serves():
                raise ModelNotFoundError(asked.model)
        except DarkroomError as error:
            log.warning("job_refused", job_id=claim.job_id, code=error.code)
            refused = JobError(code=error.code, message=str(error))
            self._jobs.finish(claim, JobStatus.FAILED, error=refused)
            return
        deadline = None
        if claim.remaining_s is not None:
            deadline = claimed_at + claim.remaining_s
        self._held.add(RunningJob(claim, asked, deadline, claimed_at=claimed_at))
