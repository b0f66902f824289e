"""The keeper: everything that time drives; a process of its own, knows no HTTP, no torch.

Several may run: each step is one atomic script, or deletes what nobody refers to any more.
"""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from darkroom import logs
from darkroom.catalog import Catalog, ModelsFileError
from darkroom.errors import DependencyError
from darkroom.images import ImageStore
from darkroom.queue.queue import Queue
from darkroom.settings import Settings

log = logs.get("keeper")

TIDY_EVERY_S = 600.0
"""Seconds between two looks at the files, and from a fault to the next."""
ORPHAN_AGE_S = 3600.0
"""A file that no job refers to may be one whose job is about to end, until it is so old."""

ABANDONED_AFTER_S = 3600.0
"""A job whose model was taken out of models.toml waits so long for a worker that comes with a file
of its own."""

LOOKS_PER_LEASE = 8
"""How often in a lease it is looked for leases that have ended, at least."""


def run(stop: threading.Event, *, settings: Settings, queue: Queue) -> None:
    """Keep house until `stop` is set. Faults of Redis or of the store are waited out, and
    what nobody foresaw keeps nothing but its own turn from being done."""
    offered = partial(_models_on_offer, settings)
    keeper = Keeper(queue, ImageStore.of(settings), settings.retention_s, offered)
    every_s = settings.keeper_interval_s
    log.info("keeper_started", interval_s=every_s)
    # A store that is slow, or has many files, must hold up no job of a lost machine.
    with ThreadPoolExecutor(1, "reaper") as pool:
        pool.submit(_go_round, stop, min(every_s, settings.lease_s / LOOKS_PER_LEASE), keeper.reap)
        _go_round(stop, every_s, keeper.turn, keeper.put_off_tidying)
    log.info("keeper_stopped")


def _go_round(
    stop: threading.Event,
    every_s: float,
    turn: Callable[[], None],
    after_fault: Callable[[], None] = lambda: None,
) -> None:
    well = True
    while not stop.is_set():
        try:
            turn()
            if not well:
                log.info("keeper_recovered")
            well = True
        except DependencyError as error:
            log.warning("keeper_waits", reason=str(error))
            well = False
            after_fault()
        except Exception:
            log.exception("keeper_failed")
            well = False
            after_fault()
        stop.wait(every_s)


class Keeper:
    """One round of what is due, per `turn`; leases apart, in a thread of their own."""

    def __init__(
        self,
        queue: Queue,
        store: ImageStore,
        retention_s: float,
        offered: Callable[[], Collection[str] | None] = lambda: None,
    ) -> None:
        """`offered` tells names of the models on offer; None if they are not known here."""
        self._queue = queue
        self._offered = offered
        self._store = store
        self._retention_s = retention_s
        self._tidy_at = time.monotonic()
        self._unreferred: set[str] = set()

    def reap(self) -> None:
        """Queue the jobs of lost machines again. Raises QueueUnavailableError."""
        if reaped := self._queue.reap():
            log.warning("jobs_reaped", jobs=reaped)

    def turn(self) -> None:
        """Raises QueueUnavailableError, StoreUnavailableError."""
        for job_id in self._queue.expire_deadlines():
            log.info("deadline_passed", job_id=job_id)
        self._forget_old_jobs()
        if time.monotonic() >= self._tidy_at:
            self.put_off_tidying()
            self._end_abandoned()
            self._queue.forget_silent_workers()
            self.tidy()

    def put_off_tidying(self) -> None:
        """After a fault, engines get time to commit pictures that they stored before it."""
        self._tidy_at = time.monotonic() + TIDY_EVERY_S

    def tidy(self) -> None:
        """Delete files that no job refers to: parts of pictures, pictures whose attempt lost, and
        inputs that were not sent or read for as long as jobs are kept."""
        if not _belongs(self._store, self._queue):
            return
        unfinished = self._store.delete_unfinished(ORPHAN_AGE_S)
        orphans = self._store.delete(self._orphans())
        input_age = max(self._retention_s, ORPHAN_AGE_S)
        inputs = 0
        if any(self._store.input_ids(input_age)):
            inputs = self._store.delete_inputs(input_age, keep=self._queue.input_ids())
        if unfinished or orphans or inputs:
            log.info("files_deleted", unfinished=unfinished, orphans=orphans, inputs=inputs)

    def _orphans(self) -> Collection[str]:
        """Pictures that no job refers to, twice in a row: a clock that jumps makes files old."""
        # The files first: a job that ends in between is then seen to refer to its own.
        candidates = set(self._store.image_ids(ORPHAN_AGE_S))
        seen, self._unreferred = self._unreferred, set()
        if candidates:
            self._unreferred = candidates - self._queue.image_ids()
        return self._unreferred & seen

    def _end_abandoned(self) -> None:
        if (offered := self._offered()) is not None:
            for job_id in self._queue.end_abandoned(offered, ABANDONED_AFTER_S):
                log.warning("model_gone", job_id=job_id)

    def _forget_old_jobs(self) -> None:
        for job_id, images in self._queue.sweep_retention().items():
            self._store.delete(images)
            log.info("retention_passed", job_id=job_id, images=len(images))


def _models_on_offer(settings: Settings) -> Collection[str] | None:
    try:
        return Catalog.read(settings.models).cards
    except ModelsFileError as error:
        log.warning("models_not_known", reason=str(error))
        return None


def _belongs(store: ImageStore, queue: Queue) -> bool:
    """Whether this Redis knows this store. One that does not, because its data is lost or the
    address is wrong, refers to none of the pictures: they must not be taken for orphans."""
    mark = store.mark()
    if mark is None:
        return store.set_mark(queue.new_store_mark())
    if mark == queue.store_mark():
        return True
    log.warning(
        "store_of_another_redis",
        store=str(store),
        reason="Orphaned pictures are kept. If this is the right Redis, delete store-id in it.",
    )
    return False
