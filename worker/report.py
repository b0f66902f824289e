"""What engine and supervisor say to one another over their two pipes; knows neither torch nor
Redis.

The engine writes a `Report` as a JSON line several times a second; the supervisor writes `drain`.
A pipe that closes means that the other one is gone.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO

from darkroom import logs
from darkroom.queue.workers import WorkerState
from worker.vital import or_exit

log = logs.get("report")

EVERY_S = 0.25
PARENT_GONE = 3
"""Exit status of an engine whose supervisor has gone."""
NO_DEVICE = 4
"""Exit status of an engine whose device is not there; its last line says so in words."""


@dataclass(frozen=True)
class Report:
    """How an engine is."""

    state: WorkerState = "starting"
    tick: int = 0
    """How often the engine's loop came round; a hung model call stops it."""
    finished: int = 0
    """Jobs that it ended well."""
    models: tuple[str, ...] = ()
    """Models that it has in memory."""
    loads: str | None = None
    """The model that it is loading or compiling."""
    running: int = 0
    """Jobs that it has begun and not ended."""
    passes: int = 0
    joined_passes: int = 0
    speed: float | None = None
    """Seconds of work that it gets through in a second of being busy."""
    device: str = ""
    memory: dict[str, int] | None = None

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> "Report":
        """Raises ValueError, TypeError or KeyError for what is no report."""
        content = json.loads(line)
        return cls(**{**content, "models": tuple(content["models"])})


def private_stdout() -> IO[bytes]:
    """The pipe to the supervisor for reports alone; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return out


def report_for_ever(ask: Callable[[], Report], out: IO[bytes]) -> None:
    """Tell the supervisor how the engine is; end the process when nobody listens."""
    with or_exit("report"):
        while True:
            if line := _line(ask):
                _tell(out, line)
            time.sleep(EVERY_S)


def _line(ask: Callable[[], Report]) -> bytes | None:
    try:
        return ask().line()
    except Exception:
        log.exception("report_failed")
        return None


def _tell(out: IO[bytes], line: bytes) -> None:
    try:
        out.write(line)
    except OSError:
        os._exit(PARENT_GONE)


def obey(drain: Callable[[], None]) -> None:
    """Follow the supervisor's words; end the process when it is gone."""
    with or_exit("orders"):
        for word in sys.stdin:
            if word.strip() == "drain":
                drain()
        os._exit(PARENT_GONE)
