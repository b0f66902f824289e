"""What happened in a run, in the order it was noticed: what clients sent and saw, what was done to
the processes, what was found in the end. The checker reads this and nothing else."""

import json
import threading
import time
from pathlib import Path
from typing import IO, Any, Self


class History:
    """Lines of JSON, in memory and in a file. Safe to use from threads; a context manager."""

    def __init__(self, path: Path | None = None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._file: IO[str] | None = path.open("w") if path else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def note(self, kind: str, *, at: float | None = None, **what: Any) -> dict[str, Any]:
        """One line; `at` is in seconds since 1970, by default now."""
        line = {"kind": kind, "at": time.time() if at is None else at, **what}
        with self._lock:
            self.lines.append(line)
            if self._file:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
        return line


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a run that was written down."""
    return [json.loads(line) for line in path.read_text().splitlines()]
