"""What an owner's clients wait for, where they cannot name a job: the newest one of a kind; sends
nothing itself."""

from dataclasses import dataclass

from darkroom.job import Job
from darkroom.queue.exchange import Exchange, run
from darkroom.queue.job_hash import read_jobs


@dataclass(frozen=True)
class Newest:
    """Jobs that have not ended."""

    count: int
    """How many there are."""
    job: Job | None
    """The newest of those that run, else of those that wait; None where there is none."""


def newest(owner: str, tag: str) -> Exchange[Newest]:
    """Of an owner's jobs that have a tag."""
    count, answer = yield from run("newest", owner, tag)
    found = list(read_jobs([answer])) if answer else []
    return Newest(count, found[0] if found else None)
