"""Starts processes: a zygote with a disk of its own, which forks what it is told to; knows nothing
of what they do."""

import contextlib
import errno
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).parents[2]
DISK_MB = 24
FILLER = "filler"


class Disk:
    """Where pictures and logs lie: two small file systems that only the processes of the house
    see, or, where none can be made, a limit on what their processes may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind = "a tmpfs in a user and mount namespace" if _can_mount() else "a file-size limit"
        self.is_real = self.kind.startswith("a tmpfs")
        self._pid = 0
        for name in ("store", "logs"):
            (folder / name).mkdir(parents=True)

    def command(self) -> list[str]:
        """What to put before a command that is to live on it."""
        if not self.is_real:
            return []
        mounts = " && ".join(
            f"mount -t tmpfs -o size={DISK_MB}m,mode=0700 tmpfs {self.folder / name}"
            for name in ("store", "logs")
        )
        return ["unshare", "-rm", "sh", "-c", f'{mounts} && exec "$@"', "sh"]

    def belongs_to(self, pid: int) -> None:
        self._pid = pid

    def at(self, name: str) -> Path:
        """The folder `store` or `logs` as it can be read from here."""
        own = self.folder / name
        return Path(f"/proc/{self._pid}/root{own}") if self.is_real else own

    def fill(self, name: str, pids: list[int]) -> None:
        """No byte more goes onto it."""
        if not self.is_real:
            for pid in pids:
                with contextlib.suppress(OSError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with (self.at(name) / FILLER).open("ab", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self, name: str, pids: list[int]) -> None:
        """There is room again."""
        if not self.is_real:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            for pid in pids:
                with contextlib.suppress(OSError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            return
        (self.at(name) / FILLER).unlink(missing_ok=True)


class Zygote:
    """The process that forks others, told what and asked about their ends. A context manager."""

    def __init__(self, folder: Path, models: Path) -> None:
        """`models`: the models.toml whose default it loads once, so that all is imported."""
        self.folder = folder.resolve()
        self.disk = Disk(self.folder / "disk")
        self.statuses: dict[int, int] = {}
        """Exit statuses by process id."""
        self.on_end: Callable[[int, int], None] = lambda _pid, _status: None
        self.news = threading.Condition()
        """Notified when a process started or ended."""
        self.places = itertools.count()
        """Names of folders on the disk, one for each house."""
        self._models = models
        self._started: list[int] = []
        self._is_ready = self._is_over = False
        self._log: IO[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "zygote.log"

    def __enter__(self) -> Self:
        self._log = self.log.open("ab")
        own = {"DARKROOM_MODELS": str(self._models), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [*self.disk.command(), sys.executable, "-m", "tests.chaos.zygote"],
            cwd=ROOT,
            env={**os.environ, **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self.disk.belongs_to(self._process.pid)
        self._listener = threading.Thread(target=self._listen, daemon=True, name="zygote")
        self._listener.start()
        with self.news:
            self.news.wait_for(lambda: self._is_ready or self._is_over, 240)
        assert self._is_ready, self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        assert self._log
        self._process.stdin.close()
        self._process.wait(30)
        self._listener.join(10)
        self._process.stdout.close()
        self._log.close()

    def start(self, order: dict[str, Any]) -> int:
        """Start a process; returns its id."""
        assert self._process.stdin
        with self.news:
            before = len(self._started)
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            assert self.news.wait_for(lambda: len(self._started) > before, 30)
            return self._started[before]

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            said = json.loads(line)
            with self.news:
                if "ready" in said:
                    self._is_ready = True
                elif "started" in said:
                    # The system gives numbers of processes that have ended to others.
                    self.statuses.pop(said["started"], None)
                    self._started.append(said["started"])
                else:
                    self.statuses[said["ended"]] = said["status"]
                    self.on_end(said["ended"], said["status"])
                self.news.notify_all()
        with self.news:
            self._is_over = True
            self.news.notify_all()


class Forked:
    """A process that a zygote forked, with what is used of `subprocess.Popen`."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self.pid = pid
        self._zygote = zygote

    def poll(self) -> int | None:
        return self._zygote.statuses.get(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        with self._zygote.news:
            if not self._zygote.news.wait_for(lambda: self.poll() is not None, timeout):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self._zygote.statuses[self.pid]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0
