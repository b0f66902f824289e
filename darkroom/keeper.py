"""The keeper: everything that time drives; a process of its own, knows no HTTP, no torch.

Several may run: each step is one atomic script, or deletes what nobody refers to any more.
"""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from darkroom import logs, messenger
from darkroom.catalog import Catalog
from darkroom.errors import DependencyError
from darkroom.images import ImageStore
from darkroom.models_text import ModelsFileError
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from darkroom.queue import erasure, files, keeping
from darkroom.queue.queue import Queue
from darkroom.settings import Settings

log = logs.get("keeper")

TIDY_EVERY_S = 600.0
"""Seconds between two looks at the files, and from a fault to the next."""
ORPHAN_AGE_S = 3600.0
"""A file that no job refers to may be one whose job is about to end, until it is so old."""

LOOSE_AGE_S = 600.0
"""An input picture that was let go of may be one whose next job is about to be accepted, until it
was not sent or read for so long."""

ERASING_STEPS = 50
"""Of 100 jobs each, in one turn, so that what else is due need not wait for long."""

ABANDONED_AFTER_S = 3600.0
"""A job whose model was taken out of models.toml waits so long for a worker that comes with a file
of its own."""

LOOKS_PER_LEASE = 8
"""How often in a lease it is looked for leases that have ended, at least."""


def run(stop: threading.Event, *, settings: Settings, queue: Queue) -> None:
    """Keep house until `stop` is set. Faults of Redis or of the store are waited out, and
    what nobody foresaw keeps nothing but its own turn from being done. Raises SettingsError."""
    policy = Policy.of(settings)
    offered = partial(_models_on_offer, settings)
    keeper = Keeper(queue, ImageStore.of(settings), settings.retention_s, offered)
    every_s = settings.keeper_interval_s
    log.info("keeper_started", interval_s=every_s)
    # A store that is slow, or has many files, must hold up no job of a lost machine.
    # And no receiver of webhooks anything.
    with ThreadPoolExecutor(2, "keeper") as pool:
        pool.submit(_go_round, stop, min(every_s, settings.lease_s / LOOKS_PER_LEASE), keeper.reap)
        if settings.webhooks:
            sending = partial(messenger.run, stop, settings, Outbound(policy))
            pool.submit(_go_round, stop, every_s, sending)
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
        for job_id in self._queue.cancel_left():
            log.info("client_gone", job_id=job_id)
        self._forget_old_jobs()
        self._queue.carry_out(files.drop_old())
        self._go_on_erasing()
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
        inputs that were let go of, or not sent or read for as long as jobs are kept."""
        if not _belongs(self._store, self._queue):
            return
        unfinished = self._store.delete_unfinished(ORPHAN_AGE_S)
        unreferred = self._orphans()
        orphans = self._store.delete(unreferred)
        self._queue.forget_images(unreferred)
        inputs = self._delete_inputs()
        if unfinished or orphans or inputs:
            log.info("files_deleted", unfinished=unfinished, orphans=orphans, inputs=inputs)

    def _delete_inputs(self) -> int:
        """Those that no job and no file refers to, and that were let go of, or are old."""
        loose = self._queue.carry_out(keeping.loose_inputs())
        old_s = max(self._retention_s, ORPHAN_AGE_S)
        if not loose and not any(self._store.input_ids(old_s)):
            return 0
        kept = self._queue.input_ids()
        gone = self._store.delete_untouched(loose - kept, LOOSE_AGE_S)
        self._queue.carry_out(keeping.forget_loose(gone | (loose & kept)))
        return len(gone) + self._store.delete_inputs(old_s, keep=kept)

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

    def _go_on_erasing(self) -> None:
        """What is removed is so much that it was not all removed at once, or its service died."""
        for asked in self._queue.carry_out(erasure.noted()):
            below: int | None = None
            for _ in range(ERASING_STEPS):
                step = self._queue.carry_out(erasure.erase_some(asked, below))
                self._store.delete(step.images)
                below = step.next
                if below is None:
                    self._queue.carry_out(erasure.end(asked))
                    log.info("data_erased", owner=asked.owner)
                    break

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
