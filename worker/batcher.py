"""Decides which parked calls run next: least slack first, with ageing; engine thread of the
worker, holds no tensors and imports no torch."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

# How many times its own duration a job may take, waiting included, before it counts as late.
STRETCH = {"high": 1.5, "normal": 3.0, "low": 10.0}

# After so many ticks in which only others ran a call goes next, however much slack it has.
PATIENCE = 8

NO_LIMITS: Mapping[Hashable, int] = MappingProxyType({})


@dataclass(frozen=True)
class Candidate:
    """A parked call, as far as choosing needs to know it."""

    owner: Hashable
    key: Hashable
    """Calls of equal keys can share a pass."""
    rows: int
    joinable: bool = True
    slack_s: float = 0.0
    """Seconds the job can lose and still be in time; see `slack`."""
    ticks_waited: int = 0
    """Ticks of the loop in a row in which others ran and this job did not."""
    max_jobs: int | None = None
    """Jobs that may share a pass of this model, where it is fewer than the engine's own limit."""


def choose(
    candidates: Sequence[Candidate], *, max_jobs: int, most_rows: Mapping[Hashable, int] = NO_LIMITS
) -> list[Hashable]:
    """Owners of the next pass: calls of one key, most urgent first; nobody only if nobody waits.

    Never waits for a pass to fill. `most_rows` limits the rows of a key, as learned when memory
    ran out; one call always fits."""
    if not candidates:
        return []
    first, *others = sorted(candidates, key=_urgency)
    chosen, rows = [first.owner], first.rows
    room = min(max_jobs, first.max_jobs or max_jobs) if first.joinable else 1
    for each in others:
        if len(chosen) >= room:
            break
        fits = rows + each.rows <= most_rows.get(first.key, rows + each.rows)
        if each.joinable and each.key == first.key and fits:
            chosen.append(each.owner)
            rows += each.rows
    return chosen


def slack(
    *,
    waited_s: float,
    remaining_s: float,
    solo_s: float,
    priority: str = "normal",
    deadline_in_s: float | None = None,
) -> float:
    """Seconds a job can lose and still end in time: within `STRETCH` times the `solo_s` it would
    take alone, counted from its submission, and before its deadline. `remaining_s` is what it
    still has to run, `waited_s` the time since it was submitted."""
    due_in_s = STRETCH[priority] * solo_s - waited_s
    if deadline_in_s is not None:
        due_in_s = min(due_in_s, deadline_in_s)
    return due_in_s - remaining_s


def _urgency(each: Candidate) -> tuple[int, float]:
    """Whoever has waited too long comes first, the longest of them before the rest."""
    return (-each.ticks_waited if each.ticks_waited >= PATIENCE else 0, each.slack_s)
