"""Decides which parked calls share the next pass: clients by their shares, of each little work
first, with ageing, and no more than pays; engine thread of the worker, holds no tensors and imports
no torch.

`python -m benchmarks.scheduling` calls this code and shows what comes of it.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from darkroom.costs import score

COUNTS = {"high": 0.1, "normal": 1.0, "low": 10.0}
"""As how much work counts that of a job of a priority."""
PATIENCE = 32.0
"""Once a job was held for so many times its own work it goes before all of its client's that came
later, to its end: with one client nobody waits longer than that and what the jobs held before it
still have to do; with more it is as much longer as a share of the device is less than all of it."""
WORTH_JOINING = 0.01
"""The share by which a wider pass must be better than a narrower one."""
LEAST_S = 1e-3
"""No job has less work left."""

PassCost = Callable[[int], float]
"""Seconds of a pass by its rows."""
EVEN: Mapping[str, float] = MappingProxyType({})
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
    held_s: float = 0.0
    """Since this engine could have begun it. How long it waited before has been seen to by the
    claim; here it would let the jobs of whoever sent most go before those of all others."""
    priority: str = "normal"
    deadline_in_s: float | None = None
    max_jobs: int | None = None
    """Jobs that may share a pass of this model, where it is fewer than the engine's own limit."""
    client: str = ""
    """Who sent it."""
    weight: float = 1.0
    """How much of the device is due to its client where 1 is due to others."""

    def goes_with(self, other: "Candidate") -> bool:
        return self.joinable and self.key == other.key


@dataclass(frozen=True)
class Choice:
    """Who shares the next pass."""

    owners: Sequence[Hashable]
    worth: Mapping[str, float]
    """Of each client's calls in it how long passes of that client alone would take for as much, in
    times what this one takes."""


@dataclass(frozen=True)
class _Client:
    """What a client has waiting."""

    name: str
    calls: Sequence[Candidate]
    """Most urgent first."""
    share: float
    """Of the device, that is due to it."""
    row_s: float
    """Seconds of a row in passes of its own."""
    left_s: float
    """Seconds until its most urgent job would end if it had the device to itself."""
    ahead_s: float

    @property
    def rank(self) -> float:
        """The least goes first, so that whoever has begun goes on to its end."""
        return self.left_s * COUNTS[self.calls[0].priority] + self.ahead_s

    @property
    def may_slow(self) -> float:
        """How many times as long its passes may take for the sake of others, so that it will have
        had its share when its most urgent job ends. By next to nothing they always may."""
        made_up = max(1 + min(self.ahead_s, 0.0) / self.left_s, 0.0)
        return max(made_up / self.share, 1 + WORTH_JOINING)

    def waits_for(self, other: Candidate) -> bool:
        """Whether a call that comes before the steps of a job may go before its own."""
        return self.ahead_s >= 0 or other.client == self.name


def choose(
    candidates: Sequence[Candidate],
    *,
    max_jobs: int,
    most_rows: Mapping[Hashable, int] = NO_LIMITS,
    costs: Mapping[Hashable, PassCost] = NO_COSTS,
    behind: int = 0,
    ahead: Mapping[str, float] = EVEN,
) -> Choice:
    """The next pass: calls of one key, most urgent first; of nobody only if nobody waits.

    Never waits for a pass to fill. `most_rows` limits the rows of a key, as learned when memory
    ran out; one call always fits. `costs` of a key that is not in it: rows cost nothing. `behind`:
    jobs that wait for these to end. `ahead`: of their shares, as `Ledger` has it."""
    if not candidates:
        return Choice([], {})
    is_full = behind > 0 or len(candidates) > max_jobs
    clients = _clients(candidates, max_jobs, costs, ahead, is_full=is_full)
    first, *others = [call for client in clients for call in client.calls]
    if not first.joinable or first.prepares:
        return _alone(first)
    alike = [first, *(each for each in others if each.goes_with(first))]
    coming = [each for each in others if each.prepares and clients[0].waits_for(each)]
    room = min(max_jobs, first.max_jobs or max_jobs)
    pass_s = costs.get(first.key, _free)
    best = _best_width([*alike, *coming], room, pass_s, is_full=is_full)
    if (prepared := _to_prepare(coming, alike, clients, best)) is not None:
        return _alone(prepared)
    chosen = _fitting(alike, best, most_rows.get(first.key), pass_s, clients[0].may_slow)
    return Choice([each.owner for each in chosen], _worth(chosen, clients, pass_s))


def _to_prepare(
    coming: Iterable[Candidate], alike: Sequence[Candidate], clients: Iterable[_Client], best: int
) -> Candidate | None:
    """Who could share the next passes, and goes before this one because it has room: that is taken
    up by its own client and those that go before it, not by those that come after."""
    places = {client.name: place for place, client in enumerate(clients)}
    for each in coming:
        if sum(places[other.client] <= places[each.client] for other in alike) < best:
            return each
    return None


def _alone(call: Candidate) -> Choice:
    return Choice([call.owner], {call.client: 1.0})


def _fitting(
    alike: Sequence[Candidate], best: int, most: int | None, pass_s: PassCost, may_slow: float
) -> list[Candidate]:
    """The first one, and after it who fits, and does not slow its client too much."""
    first = alike[0]
    chosen, rows, own = [first], first.rows, first.rows
    for each in alike[1:]:
        if len(chosen) == best or (most is not None and rows + each.rows > most):
            continue
        is_own = each.client == first.client
        if is_own or pass_s(rows + each.rows) <= may_slow * pass_s(own):
            chosen.append(each)
            rows, own = rows + each.rows, own + each.rows * is_own
    return chosen


def _worth(
    chosen: Sequence[Candidate], clients: Iterable[_Client], pass_s: PassCost
) -> Mapping[str, float]:
    rows: dict[str, int] = {}
    for each in chosen:
        rows[each.client] = rows.get(each.client, 0) + each.rows
    if len(rows) == 1:
        return dict.fromkeys(rows, 1.0)
    took = pass_s(sum(rows.values()))
    return {each.name: rows[each.name] * each.row_s / took for each in clients if each.name in rows}


def _clients(
    candidates: Sequence[Candidate],
    max_jobs: int,
    costs: Mapping[Hashable, PassCost],
    ahead: Mapping[str, float],
    *,
    is_full: bool,
) -> list[_Client]:
    """Whose calls wait, in the order in which they go."""
    calls: dict[str, list[Candidate]] = {}
    for each in sorted(candidates, key=urgency):
        calls.setdefault(each.client, []).append(each)
    if len(calls) == 1:
        return [_Client(name, own, 1.0, 1.0, 1.0, 0.0) for name, own in calls.items()]
    weights = sum(own[0].weight for own in calls.values())
    found = []
    for name, own in calls.items():
        first, pass_s = own[0], costs.get(own[0].key, _free)
        alike = [each for each in own if each.goes_with(first)] or [first]
        room = min(max_jobs, first.max_jobs or max_jobs)
        width = _best_width(alike, room, pass_s, is_full=is_full)
        rows = sum(each.rows for each in alike[:width])
        left_s = max(first.remaining_s, LEAST_S) * pass_s(rows) / pass_s(first.rows)
        share, row_s = first.weight / weights, pass_s(rows) / rows
        found.append(_Client(name, own, share, row_s, left_s, ahead.get(name, 0.0)))
    return sorted(found, key=lambda client: client.rank)


def urgency(each: Candidate) -> tuple[int, float]:
    """The least goes first: who was held for too long; who can just meet a deadline; then by the
    work that is left and the time that it was held."""
    if each.held_s > PATIENCE * each.solo_s:
        return 0, -each.held_s
    if each.deadline_in_s is not None:
        slack_s = each.deadline_in_s - each.remaining_s
        if 0 <= slack_s <= each.remaining_s:
            return 1, slack_s
    left_s = max(each.remaining_s, LEAST_S)
    return 2, COUNTS[each.priority] ** 2 * score(left_s, each.held_s)


def _best_width(waiting: Sequence[Candidate], room: int, pass_s: PassCost, *, is_full: bool) -> int:
    """How many of those that wait, the most urgent first, shall share a pass.

    While more wait than fit, what is best for all of them is what gets most done. Otherwise it is
    what lets these end soonest in the mean, those to come being as many again."""
    room = min(room, len(waiting))
    # Calls before the steps have rows of their own, which say nothing of those of the steps.
    stepping = [each for each in waiting if not each.prepares] or waiting
    rows = sum(each.rows for each in stepping) / len(stepping)

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
