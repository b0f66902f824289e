"""The ways to choose who runs next that `scheduling.py` compares; no engine, no queue."""

from collections.abc import Callable, Sequence

from benchmarks.scheduling_jobs import PLACES, Policy, SimJob
from worker.batcher import Candidate, choose

Key = Callable[[SimJob, float], object]
"""The least goes first."""

WINDOW = 64
"""Jobs at which a claim looks."""
OLDEST_EVERY = 8
"""Every so many claims take the oldest, whatever its work."""


def in_order(
    key: Key, *, prepares: bool = True
) -> Callable[[Sequence[SimJob], float], Sequence[SimJob]]:
    """Passes of up to eight, as this key orders them. `prepares`: while a pass has room, who could
    share the next one encodes first."""

    def pick(held: Sequence[SimJob], now: float) -> Sequence[SimJob]:
        ranked = sorted(held, key=lambda job: key(job, now))
        ready = [job for job in ranked if job.stage == "denoise"]
        coming = [job for job in ranked if job.stage == "encode"]
        if ranked[0].stage == "decode":
            return ranked[:1]
        if coming and prepares and len(ready) < PLACES:
            return coming[:1]
        return ready[:PLACES] if ranked[0].stage == "denoise" else ranked[:1]

    return pick


def least_slack(job: SimJob, now: float) -> object:
    """As it was until November 2026: seconds that it can lose and still end within three times its
    solo time; after eight passes without it, before all others."""
    waited_long = -job.ticks_waited if job.ticks_waited >= 8 else 0
    return waited_long, 3 * job.solo_s - (now - job.came) - job.remaining_s


def response_ratio(job: SimJob, now: float) -> object:
    return -(now - job.came + job.remaining_s) / job.remaining_s


def static_batch(held: Sequence[SimJob], _: float) -> Sequence[SimJob]:
    """Up to eight of as many steps as the oldest; the next batch when all of it have ended."""
    batch = [job for job in held if job.is_in_batch]
    if not batch:
        batch = [job for job in held if job.steps == held[0].steps][:PLACES]
        for job in batch:
            job.is_in_batch = True
    for stage in ("encode", "denoise"):
        if alike := [job for job in batch if job.stage == stage]:
            return alike if stage == "denoise" else alike[:1]
    return batch[:1]


def ours(held: Sequence[SimJob], now: float, behind: int = 0) -> Sequence[SimJob]:
    """What the engine does with the jobs that have begun in it."""
    model = held[0].model
    calls = [
        Candidate(
            owner=job,
            key=job.stage if job.stage == "denoise" else job,
            rows=model.rows,
            joinable=job.stage == "denoise",
            prepares=job.stage == "encode",
            passes=max(job.left, 1),
            remaining_s=job.remaining_s,
            solo_s=job.solo_s,
            held_s=now - job.held_at,
        )
        for job in held
    ]
    costs = {"denoise": model.curve.seconds}
    return choose(calls, max_jobs=PLACES, costs=costs, behind=behind).owners


def ours_of_eight(held: Sequence[SimJob], now: float) -> Sequence[SimJob]:
    """The same: of what it holds eight have begun at most, and others wait until one ends."""
    begun = [job for job in held if job.is_in_batch]
    waiting = [job for job in held if not job.is_in_batch]
    for job in sorted(waiting, key=lambda job: _score(job, now))[: PLACES - len(begun)]:
        job.is_in_batch = True
    begun = [job for job in held if job.is_in_batch]
    return ours(begun, now, len(held) - len(begun))


def by_response_ratio(queue: Sequence[SimJob], now: float) -> SimJob:
    """Of the first ones, by seconds waited for each second of work."""
    return min(queue[:WINDOW], key=lambda job: (-(now - job.came) / job.solo_s, job.number))


class Shortest:
    """As the claim script does it: looks at the oldest and at the shortest, weighs work more, and
    takes the oldest now and then."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, queue: Sequence[SimJob], now: float) -> SimJob:
        self._count += 1
        if self._count % OLDEST_EVERY == 0:
            return queue[0]
        half = WINDOW // 2
        shortest = sorted(queue[half:], key=lambda job: job.solo_s)[:half]
        return min((*queue[:half], *shortest), key=lambda job: _score(job, now))


def _score(job: SimJob, now: float) -> tuple[float, int]:
    return job.solo_s**3 / (now - job.came + job.solo_s), job.number


TODAY = Policy("least slack (before)", in_order(least_slack, prepares=False), holds=4 * PLACES)
FIRST = Policy("first come first served", in_order(lambda job, _: job.number))
STATIC = Policy("static batches of 8", static_batch)
OURS = Policy("ours", ours_of_eight, Shortest(), holds=2 * PLACES)

POLICIES = (
    TODAY,
    FIRST,
    STATIC,
    Policy("round robin", in_order(lambda job, _: job.ran_at)),
    Policy("highest response ratio", in_order(response_ratio)),
    Policy("shortest remaining", in_order(lambda job, _: job.remaining_s)),
    Policy("ours, claims as they came", ours_of_eight, holds=2 * PLACES),
    Policy("ours, claims by ratio", ours_of_eight, by_response_ratio, holds=2 * PLACES),
    OURS,
)
