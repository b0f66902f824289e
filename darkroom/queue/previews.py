"""Early pictures of running jobs, on their way from workers to clients; sends nothing itself.

Each function is an exchange (`exchange.py`). There is one of each running job at most, in place of
the one before; it goes when the job ends or waits again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from darkroom.events import Previewed
from darkroom.queue.claim import Claim
from darkroom.queue.exchange import Exchange, run, send

LONGEST_KEPT_S = 3600
"""Should nothing take it away: for so many seconds."""


@dataclass(frozen=True)
class Preview:
    """An early picture, as WebP, and what is told of it."""

    claim: Claim
    event: Previewed
    picture: bytes


def show(previews: Iterable[Preview]) -> Exchange[None]:
    """Let clients see these, in one round trip; those of jobs that are the engine's no more come to
    nothing."""
    about = [
        word
        for each in previews
        for word in (
            each.claim.job_id,
            each.claim.token,
            each.event.model_dump_json(),
            each.picture,
        )
    ]
    if about:
        yield from run("show", *about)


def latest(job_id: str) -> Exchange[bytes | None]:
    """The latest early picture of a job, as WebP; None where there is none."""
    picture: bytes | None = yield from send("GET", f"darkroom:preview:{job_id}")
    return picture
