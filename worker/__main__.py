"""The supervisor: starts the engine, watches it, restarts it, gives its jobs back; no torch here.

`python -m worker`. SIGTERM or SIGINT drains, and so does who asks for it over Redis: no new jobs,
running ones finish or go back to the queue within the grace period, exit 0. A second signal stops
at once.
"""

import os
import selectors
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darkroom import __version__, logs, streams
from darkroom.back_off import back_off_s
from darkroom.errors import ModelNotFoundError, QueueUnavailableError
from darkroom.live_catalog import LiveCatalog
from darkroom.models_text import ModelsFileError
from darkroom.queue.connection import connect
from darkroom.queue.queue import Queue
from darkroom.queue.workers import WorkerInfo, Workers, worker_name
from darkroom.settings import Settings
from worker.engine_process import EngineProcess
from worker.report import NO_DEVICE

log = logs.get("supervisor")

ANNOUNCE_EVERY_S = 1.0
ANNOUNCED_FOR_S = 10.0
EXTRA_GRACE_S = 10.0
"""Seconds beyond the grace period in which the engine may write out what it finished."""


class Supervisor:
    """Keeps one engine running until told to stop."""

    def __init__(
        self, settings: Settings, queue: Queue, workers: Workers, catalog: LiveCatalog
    ) -> None:
        self.name = settings.worker_name or worker_name()
        self._settings = settings
        self._catalog = catalog
        self._queue = queue
        self._workers = workers
        self._started_at = datetime.now(UTC)
        self._announced_at = 0.0
        self._announced: WorkerInfo | None = None
        self._drain_until: float | None = None
        self._why = ""
        self._signaled = False
        self._to_reap: dict[str, frozenset[str]] = {}
        """Dead engines, and the claims that they were at work on."""
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)

    def run(self) -> int:
        """Supervise until a signal came and the engine has drained, or there never was the device
        that it is to run on. Returns the exit status."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        back_off, finished, had_device = 0.0, 0, False
        while self._drain_until is None:
            try:
                engine = EngineProcess(self.name, self._settings)
            except OSError as error:  # there are too many processes, or too little memory
                back_off = back_off_s(back_off, steady=False)
                log.error("engine_not_started", reason=error.strerror, in_s=back_off)
                self._pause(back_off)
                continue
            log.info("engine_started", engine=engine.id, pid=engine.process.pid)
            status = self._watch(engine)
            self._bury(engine, status)
            finished = engine.report.finished
            if self._drain_until is not None:
                break
            # One that was there may come back, as after its driver was loaded anew.
            had_device = had_device or engine.report.device != ""
            if status == NO_DEVICE and not had_device:
                self._leave()
                return 2
            back_off = back_off_s(back_off, steady=finished > 0)
            log.warning("engine_restarts", status=status, in_s=back_off)
            self._pause(back_off)
        self._leave()
        return 0

    def _watch(self, engine: EngineProcess) -> int:
        """Follow one engine to its end; returns its exit status."""
        with selectors.DefaultSelector() as selector:
            selector.register(engine.reports, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            draining = False
            while (status := engine.process.poll()) is None:
                selector.select(timeout=0.5)
                self._clear_wake()
                engine.read()
                if self._drain_until is not None and not draining:
                    draining = True
                    log.info("draining", why=self._why, grace_s=self._settings.grace_s)
                    engine.drain()
                if self._overdue():
                    log.error("engine_did_not_drain", engine=engine.id)
                    engine.kill()
                elif engine.hung:
                    log.error("engine_hung", engine=engine.id, state=engine.report.state)
                    engine.kill()
                self._reap()
                self._announce(engine)
        engine.read()
        return status

    def _bury(self, engine: EngineProcess, status: int) -> None:
        log.info("engine_ended", engine=engine.id, status=status)
        # One that is killed because it drains too slowly is not its jobs' fault.
        self._to_reap[engine.id] = frozenset() if self._overdue() else engine.at_work
        engine.close()
        self._reap()

    def _reap(self) -> None:
        """Queue the jobs of dead engines again; tried until Redis answers."""
        for engine, at_work in tuple(self._to_reap.items()):
            try:
                count = self._queue.reap(engine, at_work)
            except QueueUnavailableError:
                return
            except Exception:  # it costs no engine
                log.exception("cannot_reap")
                return
            del self._to_reap[engine]
            if count:
                log.warning("jobs_given_back", engine=engine, jobs=count)

    def _announce(self, engine: EngineProcess) -> None:
        report, state = engine.report, engine.report.state
        self._catalog.refresh()
        info = WorkerInfo(
            name=self.name,
            engine=engine.id,
            state="draining" if self._drain_until is not None else state,
            models=report.models,
            loads=report.loads,
            serves=self._catalog.served(self._settings.serves),
            device=report.device,
            max_jobs=self._settings.max_jobs,
            running=report.running,
            passes=report.passes,
            joined_passes=report.joined_passes,
            speed=report.speed,
            version=__version__,
            started_at=self._started_at,
            memory=report.memory,
        )
        now = time.monotonic()
        news = self._announced is None or _without_counts(self._announced) != _without_counts(info)
        if not news and now - self._announced_at < ANNOUNCE_EVERY_S:
            return
        self._announced_at = now
        try:
            if self._workers.announce(info, ttl_s=ANNOUNCED_FOR_S) and self._drain_until is None:
                self._drain("asked for over the API")
            self._announced = info
        except QueueUnavailableError as error:
            log.warning("cannot_announce", reason=str(error))
        except Exception:  # it costs no engine either
            log.exception("cannot_announce")

    def _leave(self) -> None:
        try:
            self._reap()
            self._workers.leave(self.name)
        except QueueUnavailableError as error:
            log.warning("cannot_sign_off", reason=str(error))
        log.info("stopped", why=self._why)

    def _on_signal(self, number: int, _frame: Any) -> None:
        """Logs nothing: it may have interrupted the writing of a line, which holds a lock."""
        if self._signaled:
            self._drain_until = time.monotonic() - EXTRA_GRACE_S
        elif self._drain_until is None:
            self._drain(signal.Signals(number).name)
        self._signaled = True

    def _drain(self, why: str) -> None:
        self._why = why
        self._drain_until = time.monotonic() + self._settings.grace_s

    def _overdue(self) -> bool:
        return (
            self._drain_until is not None and time.monotonic() > self._drain_until + EXTRA_GRACE_S
        )

    def _pause(self, seconds: float) -> None:
        """Wait, but not through a signal; the wake-up pipe ends it."""
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            while self._drain_until is None and (left := end - time.monotonic()) > 0:
                selector.select(timeout=left)
                self._clear_wake()
                self._reap()

    def _clear_wake(self) -> None:
        try:
            os.read(self._wake, 1024)
        except BlockingIOError:
            return


def _without_counts(info: WorkerInfo) -> WorkerInfo:
    """What is worth an announcement of its own; the rest changes with every job."""
    state = "idle" if info.state == "busy" else info.state
    return replace(info, state=state, running=0, passes=0, joined_passes=0, speed=None, memory=None)


def main() -> int:
    streams.guard()
    settings = Settings()
    logs.setup(settings, process="supervisor")
    if settings.redis_url is None:
        print(
            "DARKROOM_REDIS_URL is not set. `darkroom up` starts everything on one machine; "
            "a worker on its own needs the Redis or Valkey that the API uses.",
            file=sys.stderr,
        )
        return 2
    try:
        catalog = LiveCatalog(Path(settings.models))
        catalog.names(settings.serves)
    except (ModelsFileError, ModelNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    redis = connect(settings.redis_url)
    return Supervisor(settings, Queue.of(redis, settings), Workers(redis), catalog).run()


if __name__ == "__main__":
    sys.exit(main())
