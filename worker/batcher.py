"""Decides which parked calls share the next pass: little work first, with ageing, and no more of
them than pays; engine thread of the worker, holds no tensors and imports no torch.

`python -m benchmarks.scheduling` calls this code and shows what comes of it.
"""

import heapq
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from darkroom.costs import score

WEIGHT = {"high": 0.01, "normal": 1.0, "low": 100.0}
"""By what the urgency of jobs of a priority is multiplied; as if they had a tenth of their work, or
ten times as much."""
PATIENCE = 32.0
"""Once a job was held for so many times its own work it goes before all that came later, to its
end: nobody waits longer than that and what the jobs held before it still have to do."""
WORTH_JOINING = 0.01
"""The share by which a wider pass must be better than a narrower one."""

PassCost = Callable[[int], float]
"""Seconds of a pass by its rows."""
NO_LIMITS: Mapping[Hashable, int] = MappingProxyType({})
NO_COSTS: Mapping[Hashable, PassCost] = MappingProxyType({})


@dataclass(frozen=True)
class Candidate:
    """A parked call, as far as choosing needs to know it."""

    owner: Hashable
    key: Hashable
    """Calls of equal keys can share a pass."""
    rows: int
    joinable: bool = True
    prepares: bool = False
    """Whether it comes before the job's first step, and so before calls that can be joined."""
    passes: int = 1
    """Passes that its job has left."""
    remaining_s: float = 1.0
    """Seconds of work that its job has left, shared with nobody."""
    solo_s: float = 1.0
    """Seconds of work that it had in all."""
    waited_s: float = 0.0
    """Since it was submitted."""
    held_s: float = 0.0
    """Since this engine could have begun it."""
    priority: str = "normal"
    deadline_in_s: float | None = None
    max_jobs: int | None = None
    """Jobs that may share a pass of this model, where it is fewer than the engine's own limit."""


def choose(
    candidates: Sequence[Candidate],
    *,
    max_jobs: int,
    most_rows: Mapping[Hashable, int] = NO_LIMITS,
    costs: Mapping[Hashable, PassCost] = NO_COSTS,
    behind: int = 0,
) -> list[Hashable]:
    """Owners of the next pass: calls of one key, most urgent first; nobody only if nobody waits.

    Never waits for a pass to fill. `most_rows` limits the rows of a key, as learned when memory
    ran out; one call always fits. `costs` of a key that is not in it: rows cost nothing. `behind`:
    jobs that wait for these to end."""
    if not candidates:
        return []
    first, *others = sorted(candidates, key=urgency)
    if not first.joinable or first.prepares:
        return [first.owner]
    alike = [first, *(each for each in others if each.joinable and each.key == first.key)]
    coming = [each for each in others if each.prepares]
    room = min(max_jobs, first.max_jobs or max_jobs)
    is_full = behind > 0 or len(candidates) > max_jobs
    best = _best_width([*alike, *coming], room, costs.get(first.key, _free), is_full=is_full)
    if coming and len(alike) < best:
        return [coming[0].owner]
    chosen, rows, limit = [first.owner], first.rows, most_rows.get(first.key)
    for each in alike[1:]:
        if len(chosen) < best and (limit is None or rows + each.rows <= limit):
            chosen.append(each.owner)
            rows += each.rows
    return chosen


def urgency(each: Candidate) -> tuple[int, float]:
    """The least goes first: who was held for too long; who can just meet a deadline; then by the
    work that is left and the time since it came."""
    if each.held_s > PATIENCE * each.solo_s:
        return 0, -each.held_s
    if each.deadline_in_s is not None:
        slack_s = each.deadline_in_s - each.remaining_s
        if 0 <= slack_s <= each.remaining_s:
            return 1, slack_s
    left = max(each.remaining_s, 1e-3)
    return 2, WEIGHT[each.priority] * score(left, each.waited_s)


def _best_width(waiting: Sequence[Candidate], room: int, pass_s: PassCost, *, is_full: bool) -> int:
    """How many of those that wait, the most urgent first, shall share a pass.

    While more wait than fit, what is best for all of them is what gets most done. Otherwise it is
    what lets these end soonest in the mean, those to come being as many again."""
    room = min(room, len(waiting))
    rows = sum(each.rows for each in waiting) / len(waiting)

    def took(jobs: int) -> float:
        return pass_s(max(round(rows * jobs), 1))

    best, least = 1, float("inf")
    for width in range(1, room + 1):
        if is_full:
            cost = took(width) / width
        else:
            ends = _ends([each.passes for each in waiting], width, took)
            cost = sum(ends) + len(ends) * max(ends)
        if cost < least * (1 - WORTH_JOINING):
            best, least = width, cost
    return best


def _ends(passes: Sequence[int], width: int, took: Callable[[int], float]) -> list[float]:
    """When jobs end that have so many passes left, where so many share each and the next one joins
    as one leaves. `took`: seconds of a pass by the jobs in it."""
    running = list(passes[:width])
    heapq.heapify(running)
    waiting = iter(passes[width:])
    now, done, ends = 0.0, 0, []
    while running:
        last = running[0]
        now += (last - done) * took(len(running))
        done = heapq.heappop(running)
        ends.append(now)
        if (joins := next(waiting, None)) is not None:
            heapq.heappush(running, last + joins)
    return ends


def _free(_: int) -> float:
    """What rows cost whose cost is not known: as if they all fitted into one pass for the same."""
    return 1.0
