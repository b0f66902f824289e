"""One log format for every process: a line per event, to standard error; no prompt in any line."""

import logging
import sys
from typing import Any

import structlog

from darkroom.settings import Settings

_LEVELS = logging.getLevelNamesMapping()


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


def get(name: str) -> Any:
    """A logger whose lines name the part of Darkroom they come from."""
    return structlog.get_logger(part=name)
