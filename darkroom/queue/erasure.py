"""Removing all that an owner has made: jobs with their pictures and events, files; sends nothing
itself.

It is noted first, so that whoever comes later can end what was begun: each step is one script, and
may be done again.
"""

from dataclasses import dataclass

from darkroom.queue.exchange import Exchange, run, send
from darkroom.queue.job_hash import image_ids

_LOOKED_AT = 500
"""Jobs that a step looks at, so that none holds Redis up for long."""


@dataclass(frozen=True)
class Erasure:
    """All that an owner had made at a moment."""

    owner: str
    noted: str
    """As Redis keeps it: the ticket of the last job, and the time."""

    @property
    def last(self) -> int:
        """The ticket of the last job."""
        return int(self.noted.partition(" ")[0])


@dataclass(frozen=True)
class Step:
    """What a step removed."""

    next: int | None
    """The ticket below which the next one goes on; None: all is removed."""
    jobs: int
    images: list[str]
    """Pictures of these jobs, which are in the store still."""
    files: int


def begin(owner: str) -> Exchange[Erasure]:
    """Note that all that the owner has made by now shall be removed."""
    return Erasure(owner, (yield from run("begin_erasure", owner)).decode())


def erase_some(erasure: Erasure, below: int | None = None) -> Exchange[Step]:
    """Remove some of it, the newest first: jobs below a ticket, in the end files."""
    before = erasure.last + 1 if below is None else below
    step = yield from run("erase", erasure.owner, before, erasure.last, _LOOKED_AT)
    next_, records, files = step
    images = [image for each in records for image in image_ids(each)]
    return Step(int(next_) if next_ else None, len(records), images, files)


def end(erasure: Erasure) -> Exchange[None]:
    """All is removed."""
    yield from run("end_erasure", erasure.owner, erasure.noted)


def noted() -> Exchange[list[Erasure]]:
    """What is not ended yet."""
    found = yield from send("HGETALL", "darkroom:erasures")
    return [Erasure(owner.decode(), noted.decode()) for owner, noted in found.items()]
