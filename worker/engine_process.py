"""The engine as its supervisor sees it: a child process, what it reports and how it is ended; part
of the supervisor, knows neither torch nor the queue."""

import os
import signal
import subprocess
import sys
import time
import uuid

from darkroom import logs
from darkroom.settings import Settings
from darkroom.tether import tether
from worker.at_work import shared_memory, tokens_in
from worker.report import Report

log = logs.get("supervisor")


class EngineProcess:
    """One engine: the child process, its two pipes and when it last made progress."""

    def __init__(self, worker: str, settings: Settings) -> None:
        self.id = f"{worker}/{uuid.uuid4().hex[:8]}"
        self.report = Report()
        self.progressed_at = time.monotonic()
        self._settings = settings
        self._rest = b""
        self._at_work = shared_memory()
        command = [
            *(sys.executable, "-m", "worker.engine", "--worker", worker, "--engine", self.id),
            *("--at-work", str(self._at_work)),
        ]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # On a busy CPU, OpenMP threads that spin while they wait for one another made a small
            # model ten times slower.
            env={"OMP_WAIT_POLICY": "PASSIVE", **settings.environment_of_models()},
            # A group of its own: Ctrl-C in a terminal is the supervisor's to deal with.
            process_group=0,
            pass_fds=[self._at_work],
            preexec_fn=tether(signal.SIGKILL),
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._orders, self.reports = self.process.stdin, self.process.stdout
        os.set_blocking(self.reports.fileno(), False)

    def read(self) -> None:
        """Take in what the engine reported since the last call."""
        *lines, self._rest = (self._rest + (self.reports.read() or b"")).split(b"\n")
        for line in lines:
            try:
                report = Report.parse(line)
            except (ValueError, TypeError, KeyError):  # of a library, as the engine starts
                log.warning("no_report", engine=self.id, bytes=len(line))
                continue
            if (report.tick, report.state) != (self.report.tick, self.report.state):
                self.progressed_at = time.monotonic()
            self.report = report

    @property
    def hung(self) -> bool:
        """Whether a call of a model, or loading one, has taken longer than it may."""
        loading = self.report.state in ("starting", "loading")
        limit = self._settings.load_timeout_s if loading else self._settings.step_timeout_s
        return time.monotonic() - self.progressed_at > limit

    @property
    def at_work(self) -> frozenset[str]:
        """Tokens of the claims whose jobs may be to blame if it has died."""
        return tokens_in(self._at_work)

    def drain(self) -> None:
        try:
            self._orders.write(b"drain\n")
            self._orders.flush()
        except OSError:
            log.debug("engine_gone_before_drain", engine=self.id)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        for pipe in (self._orders, self.reports):
            try:
                pipe.close()
            except OSError:
                log.debug("pipe_was_closed", engine=self.id)
        os.close(self._at_work)
