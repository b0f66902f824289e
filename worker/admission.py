"""Which of the jobs that wait may begin: those that may have taken an engine down run alone, and
nobody is overtaken for ever; engine thread of the worker, no torch."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from darkroom.catalog import Catalog
from darkroom.costs import score
from darkroom.errors import Released
from darkroom.job import Priority
from darkroom.queue.claim import Claim
from worker.beginning import Beginning
from worker.running import RunningJob

PRIORITIES = get_args(Priority)
"""The first goes first."""

PATIENCE = 8
"""One in so many begins goes to whoever was held longest; as in `claim.lua`."""


def in_order(
    waiting: Iterable[RunningJob], loaded: Collection[str], under_way: Iterable[RunningJob] = ()
) -> list[RunningJob]:
    """First the jobs that have to run alone, then by priority, then those whose model is in memory,
    then those of clients with the least of their share under way, the shorter first; among equals
    as they came."""

    now, begun = time.monotonic(), Counter(job.claim.owner for job in under_way)

    def precedence(job: RunningJob) -> tuple[bool, int, bool, float, float]:
        claim = job.claim
        return (
            not claim.must_run_alone,
            PRIORITIES.index(claim.priority),
            job.model not in loaded,
            begun[claim.owner] / claim.weight,
            score(claim.work_s, now - job.claimed_at),
        )

    return sorted(waiting, key=precedence)


def places_due(claims: Iterable[Claim], places: int) -> Mapping[str, float]:
    """How many of the places are due to each of these owners."""
    weights = {claim.owner: claim.weight for claim in claims}
    return {owner: places * weight / sum(weights.values()) for owner, weight in weights.items()}


def must_wait(job: RunningJob, under_way: Collection[RunningJob]) -> bool:
    """Whether a job has to wait for those under way to end, because it or one of them has to run
    alone."""
    alone = job.claim.must_run_alone or any(each.claim.must_run_alone for each in under_way)
    return alone and bool(under_way)


def must_let_others_go_first(
    job: RunningJob, waiting: Iterable[RunningJob], patience_s: float
) -> bool:
    """Whether another job waits for room in memory more than `patience_s` longer than this one, so
    that the models in its way must get no new jobs."""
    longest = job.waited_s + patience_s
    # Itself too would have waited longer, as time goes on from one line to the next.
    others = (other for other in waiting if other is not job)
    return any(other.needs_room and other.waited_s > longest for other in others)


@dataclass
class Admission:
    """Has held jobs begun as far as there are places for them."""

    catalog: Catalog
    beginning: Beginning
    loaded: Callable[[], Collection[str]]
    """The models in memory."""
    has_room_for: Callable[[Collection[str], Collection[str]], bool]
    """Whether models can be used together now, while those given have jobs and stay."""
    places: int
    """Jobs that may be under way, besides those that are about to end or of high priority."""
    prefer_loaded_s: float
    """See `must_let_others_go_first`."""

    _turns: int = field(default=0, init=False)
    """How many were asked to begin."""

    def begin_waiting(self, jobs: Collection[RunningJob]) -> None:
        """Ask for those to begin that may, of the jobs of the loop; they start once the queue has
        agreed."""
        waiting = [job for job in jobs if not job.is_under_way]
        left = list(waiting)
        while left := [job for job in left if self._has_place(job, jobs)]:
            under_way = [each for each in jobs if each.is_under_way]
            job = self._next(left, under_way)
            if must_wait(job, under_way):
                return
            busy = {name for each in under_way for name in each.models}
            if not self._has_to_stand_back(job, waiting, busy):
                self.beginning.ask(job)
                self._turns += 1
            if job.claim.must_run_alone:
                _give_back(each for each in waiting if each is not job)
                return
            left.remove(job)

    def _has_place(self, job: RunningJob, jobs: Collection[RunningJob]) -> bool:
        """Whether it may begin beside those of `jobs` that have. One of high priority, or of a
        client that has less under way than its share, need not wait for a place, since the batcher
        lets it go first; but no more than half as many again, who would slow one another down."""
        under_way = [each for each in jobs if each.is_under_way]
        begun = sum(each.claim.owner == job.claim.owner for each in under_way)
        due = places_due((each.claim for each in jobs), self.places)[job.claim.owner]
        goes_first = job.claim.priority == "high" or begun < due
        more = max(self.places // 2, 1) if goes_first else 0
        return sum(not each.is_leaving for each in under_way) < self.places + more

    def _next(
        self, waiting: Collection[RunningJob], under_way: Collection[RunningJob]
    ) -> RunningJob:
        """The first in order, but now and then the one of its priority that was held longest."""
        first = in_order(waiting, self.loaded(), under_way)[0]
        if self._turns % PATIENCE < PATIENCE - 1 or first.claim.must_run_alone:
            return first
        equals = [job for job in waiting if job.claim.priority == first.claim.priority]
        return min(equals, key=lambda job: job.claimed_at)

    def _has_to_stand_back(
        self, job: RunningJob, waiting: Collection[RunningJob], busy: Collection[str]
    ) -> bool:
        """Whether the job has to let others run to their ends first."""
        cards = [self.catalog.cards[name] for name in job.models if name in self.catalog.cards]
        # A pinned model never leaves, so that nobody gains when its jobs wait.
        pinned = all(card.pinned for card in cards)
        if not pinned and must_let_others_go_first(job, waiting, self.prefer_loaded_s):
            return True
        job.needs_room = not self.has_room_for(job.models, busy)
        return job.needs_room or any(
            card.offload == "model" and card.name in busy for card in cards
        )


def _give_back(jobs: Iterable[RunningJob]) -> None:
    """Hold nothing beside a job that has to run alone."""
    for job in jobs:
        job.interrupt = job.interrupt or Released()
