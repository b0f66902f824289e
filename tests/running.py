"""`darkroom up` as people run it: a process with children, its output, its signals."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent
DARKROOM = [sys.executable, "-m", "darkroom.command.cli"]


def environment(**variables: str) -> dict[str, str]:
    """This process's, without settings of Darkroom and without downloads."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DARKROOM_")}
    return {**kept, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **variables}


def darkroom(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    env = environment(**options.pop("variables", {}))
    command = [*DARKROOM, *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=500, **options)


class RunningUp:
    """A context manager; ended by SIGTERM if it still runs."""

    def __init__(
        self, state_dir: Path, models: Path, *options: str, within: Sequence[str] = ()
    ) -> None:
        """`within`: a command that becomes the one that is given to it."""
        self.state_dir = state_dir
        self.url = ""
        self.output = ""
        command = [*within, *DARKROOM, "up", "--port", "0", "--state-dir", str(state_dir)]
        self.process = subprocess.Popen(
            [*command, "--models", str(models), "--torch-threads", "1", *options],
            env=environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.output += self.process.communicate(timeout=90)[0]
        self.process.stdout.close()

    def says(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        for line in self.process.stdout:
            self.output += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"ended without {pattern!r}:\n{self.output}")

    def ready(self) -> str:
        """Wait until workers take jobs; returns the URL."""
        self.url = self.says(r"listens at (\S+)")[1]
        self.says("^Ready")
        return self.url

    def descendants(self) -> dict[int, str]:
        """Process ids and command lines of all processes below this one."""
        return below(self.process.pid)

    def child(self, part: str) -> int:
        """The one process below this one whose command line holds `part`."""
        [pid] = [pid for pid, command in self.descendants().items() if part in command]
        return pid


def below(pid: int) -> dict[int, str]:
    """Process ids and command lines of all processes below one."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in _children(waiting.pop()):
            found[child] = _command(child)
            waiting.append(child)
    return found


def wait_until_gone(pids: set[int], timeout_s: float = 60) -> set[int]:
    """Those that are still there after so long."""
    handles = {}
    for pid in pids:
        try:
            handles[os.pidfd_open(pid)] = pid
        except ProcessLookupError:
            continue
    end = time.monotonic() + timeout_s
    while handles and time.monotonic() < end:
        for handle in select.select(list(handles), [], [], end - time.monotonic())[0]:
            os.close(handle)
            del handles[handle]
    return set(handles.values())


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except FileNotFoundError:
        return ""
