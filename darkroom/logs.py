"""One log format for every process: a line per event, to standard error; no prompt in any line."""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

from darkroom.settings import Settings

_LEVELS = logging.getLevelNamesMapping()
LASTING = {
    "cannot_announce",
    "channel_lost",
    "keeper_waits",
    "queue_unavailable",
    "store_unavailable",
}
"""Warnings of what is tried again and again until it works."""
REPEAT_EVERY_S = 30.0
"""How often each of them is written for the same reason."""


def setup(settings: Settings, **bound: Any) -> None:
    """Configure logging for this process; `bound` goes into each of its lines."""
    as_text = settings.log_format == "text" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    render = (
        structlog.dev.ConsoleRenderer()
        if as_text
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            Repeats(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(**bound)


class Repeats:
    """Leaves out lasting warnings for a reason that was given a moment ago, as while Redis is away;
    the next one that is written says how many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: dict[tuple[Any, ...], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def __call__(
        self, _logger: Any, level: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A step of structlog's chain. Raises DropEvent for a line to leave out."""
        if level != "warning" or line["event"] not in LASTING:
            return line
        now = self._clock()
        key = line.get("part"), line["event"], line.get("reason")
        with self._lock:
            then, left_out = self._written.get(key, (-math.inf, 0))
            if now - then < REPEAT_EVERY_S:
                self._written[key] = then, left_out + 1
                raise structlog.DropEvent
            self._forget_before(now - 2 * REPEAT_EVERY_S)
            self._written[key] = now, 0
        return line if not left_out else {**line, "left_out": left_out}

    def _forget_before(self, moment: float) -> None:
        self._written = {k: v for k, v in self._written.items() if v[0] >= moment}


def get(name: str) -> Any:
    """A logger whose lines name the part of Darkroom they come from."""
    return structlog.get_logger(part=name)
