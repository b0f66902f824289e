"""What an owner of jobs uses of that of which keys may have only so much; asked by the service,
sends nothing itself."""

from dataclasses import dataclass

from pydantic import ConfigDict

from darkroom.queue.exchange import Exchange, run


@dataclass(frozen=True)
class Use:
    """What is used of it now."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    active: int
    """Jobs that are queued or running."""
    queued: int
    """Jobs that are queued."""
    gpu_seconds: float
    """Seconds of work on devices of the jobs that were accepted today, UTC: of those that have
    ended what they took, of the others what they are likely to."""
    day_ends_s: int
    """Seconds until the next day, UTC."""


def use(owner: str) -> Exchange[Use]:
    active, queued, spent_ms, day_ends_s = yield from run("use", owner)
    return Use(active, queued, spent_ms / 1000, day_ends_s)
