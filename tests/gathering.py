"""The smallest loop around a gather: every tick, the longest parked call and all of its key; and by
what joined calls differ from the same calls alone."""

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import torch

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


def witnessed(parking: Callable[..., Any], differences: list[float]) -> Callable[..., Any]:
    """A wrapped forward that makes each call again alone, at once, and notes how far the two are
    from each other."""

    @functools.wraps(parking)
    def forward(*args: Any, **kwargs: Any) -> Any:
        joined = parking(*args, **kwargs)
        alone = parking.__wrapped__(*args, **kwargs)
        pairs = zip(flat(joined), flat(alone), strict=True)
        differences.append(max(difference(one, other) for one, other in pairs))
        return joined

    return forward


def flat(result: Any) -> Iterator[torch.Tensor]:
    """The tensors in what a network returned."""
    if isinstance(result, torch.Tensor):
        yield result
    else:
        for each in result.values() if isinstance(result, Mapping) else result:
            yield from flat(each)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())
