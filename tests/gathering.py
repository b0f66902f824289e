"""The smallest loop around a gather: every tick, the longest parked call and all of its key."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from worker.gathering.gather import Ended, Gather


def run_all(
    gather: Gather, jobs: Mapping[Hashable, Callable[[], Any]], *, max_jobs: int = 16
) -> dict[Hashable, Ended]:
    """Run the jobs to their ends, at most `max_jobs` at a time; the next joins as one leaves."""
    waiting, ended = list(jobs.items()), {}
    while waiting or gather.parked:
        while waiting and gather.running < max_jobs:
            gather.start(*waiting.pop(0))
        if gather.parked:
            tick(gather)
        ended |= {each.owner: each for each in gather.take_ended()}
    return ended


def tick(gather: Gather) -> None:
    calls = list(gather.parked.values())
    gather.run([call for call in calls if call.key == calls[0].key])


def values(ended: Mapping[Hashable, Ended]) -> dict[Hashable, Any]:
    """What the jobs returned; raises what the first failed one raised."""
    for each in ended.values():
        if each.error is not None:
            raise each.error
    return {owner: each.value for owner, each in ended.items()}
