"""One log format for every process: a line per event, to standard error; no prompt in any line.

No call of a logger raises, whatever is logged and wherever to: see streams.py.
"""

import json
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from darkroom.settings import Settings
from darkroom.text import plain

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

BURST = 100
"""How many warnings and errors of one kind are written whatever their rate."""
FLOOD_PER_S = 2.0
"""How many a second beyond those."""
MOST_KINDS = 1000
"""Kinds of lines that are remembered."""


def setup(settings: Settings, **bound: Any) -> None:
    """Configure logging for this process, whose streams are guarded; `bound` goes into each of its
    lines."""
    as_text = settings.log_format == "text" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    render = (
        [_on_its_line, structlog.dev.ConsoleRenderer(colors=_in_colour())]
        if as_text
        else [structlog.processors.JSONRenderer(sort_keys=False)]
    )
    lines = _Lines(sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            Repeats(),
            Floods(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("event"),
            *render,
        ],
        wrapper_class=_logger_class(_LEVELS[settings.log_level.upper()]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(**bound)
    logging.basicConfig(handlers=[FromLibraries()], level=logging.WARNING, force=True)


class _Lines:
    """Writes lines. structlog's own writers hold a lock, for which a finaliser that logs would wait
    in vain."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _write(self, line: str) -> None:
        self._stream.write(f"{line}\n")

    debug = info = warning = error = critical = _write


class _Calm:
    """What is logged is never worth the work that it tells of: a line that cannot be made is one
    that says so."""

    _logger: Any

    def _proxy_to_logger(self, method_name: str, event: object = None, **about: Any) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, **about)  # type: ignore[misc] # the other base's
        except Exception as error:
            told = {"event": str(event), "level": method_name, "not_told": type(error).__name__}
            with suppress(Exception):
                self._logger.error(json.dumps(told))


def _logger_class(level: int) -> type[Any]:
    return type("Logger", (_Calm, structlog.make_filtering_bound_logger(level)), {})


class FromLibraries(logging.Handler):
    """Hands on what libraries log in Python's own way, so that it is written as our lines are."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event, _, detail = record.getMessage().strip().partition("\n")
        except Exception:  # what was to be filled in does not fit
            event, detail = str(record.msg), ""
        more = {"detail": detail} if detail else {}
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        get(record.name).log(level, event, exc_info=record.exc_info, **more)


class Floods:
    """Leaves out warnings and errors of a kind that comes faster than anybody reads, as somebody
    may provoke on purpose; the next one that is written says how many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[tuple[Any, Any], tuple[float, float, int]] = {}
        """How many more may be written, as of when, and how many were left out since the last."""
        self._lock = threading.RLock()  # a finaliser may log

    def __call__(
        self, _logger: Any, level: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A step of structlog's chain. Raises DropEvent for a line to leave out."""
        if level in ("debug", "info"):
            return line
        now = self._clock()
        kind = line.get("part"), line["event"]
        with self._lock:
            room, then, left_out = self._kinds.pop(kind, (BURST, now, 0))
            room = min(BURST, room + (now - then) * FLOOD_PER_S)
            written = room >= 1
            self._kinds[kind] = (room - 1, now, 0) if written else (room, now, left_out + 1)
            if len(self._kinds) > MOST_KINDS:  # the one that was seen longest ago
                del self._kinds[next(iter(self._kinds))]
        if not written:
            raise structlog.DropEvent
        return {**line, "left_out": left_out} if left_out else line


def _on_its_line(
    _logger: Any, _level: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A step of structlog's chain for lines that no JSON keeps apart: what a client wrote can begin
    none of its own, and sends a terminal no commands."""
    return {k: _shown(k, v) if isinstance(v, str) else v for k, v in line.items()}


def _shown(name: str, text: str) -> str:
    """A trace has lines of its own."""
    return "\n".join(map(plain, text.split("\n"))) if name == "exception" else plain(text)


def _in_colour() -> bool:
    """On a terminal whose user has not asked for none (no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def is_fault(line: str) -> bool:
    """Whether a line of a log tells of something that went wrong: a warning or worse, or, as a
    traceback, no line of ours at all."""
    try:
        return _LEVELS[json.loads(line)["level"].upper()] >= logging.WARNING
    except (ValueError, TypeError, LookupError, AttributeError):
        return True


def readable(line: str) -> str:
    """A line of a log, as JSON or not, for people."""
    try:
        said = {k: _shown(k, str(v)) for k, v in dict(json.loads(line)).items()}
        told = f"{said.pop('timestamp')[11:19]} {said.pop('level')} {said.pop('event')}"
    except (ValueError, TypeError, LookupError):
        return plain(line)
    exception = said.pop("exception", "")
    details = " ".join(f"{name}={value}" for name, value in said.items() if name != "process")
    return "\n".join(part for part in (f"{told} {details}".rstrip(), exception) if part)


class Repeats:
    """Leaves out lasting warnings for a reason that was given a moment ago, as while Redis is away;
    the next one that is written says how many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: dict[tuple[Any, ...], tuple[float, int]] = {}
        self._lock = threading.RLock()  # a finaliser may log

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
