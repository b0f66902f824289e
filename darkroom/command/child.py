"""One process that `darkroom up` starts, and its log: started again as often as it takes."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from darkroom import logs
from darkroom.back_off import back_off_s
from darkroom.private import open_file
from darkroom.settings import Settings
from darkroom.tether import tether

COMMANDS = {
    "api": [sys.executable, "-m", "service"],
    "keeper": [sys.executable, "-m", "darkroom.command.cli", "keeper"],
    "worker": [sys.executable, "-m", "worker"],
}

STEADY_AFTER_S = 60.0
"""A child that ran so long starts with a short back-off again."""
LARGEST_LOG_BYTES = 20_000_000
LONGEST_LAST_WORDS = 100_000
"""Bytes of a log that are looked through."""


class Child:
    """One process and its log, started again as often as it takes."""

    def __init__(self, kind: str, settings: Settings, redis_url: str) -> None:
        self.kind = kind
        self.name = f"worker {settings.worker_name}" if kind == "worker" else kind
        self.log = settings.state_dir / "logs" / f"{self.name.replace(' ', '-')}.log"
        self._settings = settings
        self._back_off_s = 0.0
        self.start(redis_url)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def start(self, redis_url: str) -> None:
        """Start the process; it writes on where the last one left off. Raises OSError."""
        self.start_again_at: float | None = None
        self._started_at = time.monotonic()
        values = self._settings.environment() | {"DARKROOM_REDIS_URL": redis_url}
        with _log(self.log) as log:
            self._log_begin = log.tell()
            # A process group of its own: Ctrl-C in a terminal must reach `up` alone, which stops
            # its children in an order that lets running jobs end.
            self.process = subprocess.Popen(
                COMMANDS[self.kind],
                env=os.environ | values,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0o077,
                process_group=0,
                preexec_fn=tether(),
            )

    def note_end(self) -> None:
        """Note that the process is gone and when to start it again."""
        now = time.monotonic()
        steady = now - self._started_at > STEADY_AFTER_S
        self._back_off_s = back_off_s(self._back_off_s, steady=steady)
        self.start_again_at = now + self._back_off_s

    def wait_or_kill(self, timeout_s: float) -> None:
        """Give the process, told to end already, its time. A worker takes a second signal as an
        order to stop at once."""
        if self.running:
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        if self.running:
            self.process.kill()
            self.process.wait()

    def last_words(self, lines: int = 8) -> str:
        """The last lines, for people to read, of what the latest process wrote of faults; of all
        that it wrote, if it wrote of none."""
        written: list[str] = []
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(self._log_begin, log.seek(0, os.SEEK_END) - LONGEST_LAST_WORDS))
            written = log.read().decode(errors="replace").strip().splitlines()
        faults = [line for line in written if logs.is_fault(line)]
        return "\n".join(f"  {logs.readable(line)}" for line in (faults or written)[-lines:])


def _log(path: Path) -> IO[bytes]:
    """Open for appending; a file that has grown large is set aside first. No process stays down
    because its log cannot be written."""
    try:
        if path.is_file() and path.stat().st_size > LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return open_file(path, "ab")
    except OSError:
        return open(os.devnull, "ab")


def become(module: str, settings: Settings, *arguments: str) -> NoReturn:
    """Go on as the module, in this process, with the settings as they are here."""
    os.execve(
        sys.executable,
        [sys.executable, "-m", module, *arguments],
        os.environ | settings.environment(),
    )
