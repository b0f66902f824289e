"""Prompts of different lengths in one forward; used by the worker's gather, knows no networks and
no jobs.

Rows share a forward where its shapes do not depend on which rows these are: then a row has the same
bits whatever the company. So a text is padded by what it is itself, not by its longest neighbour.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import torch

from worker.gathering.joinable import TEXT_LENGTHS


def pad(
    states: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A text of (rows, tokens, width) at the next of `TEXT_LENGTHS`, and its mask (rows, tokens),
    True where the network is to look. There always is one, as attention with a mask differs in the
    last bits from that without."""
    rows, tokens = states.shape[:2]
    length = next((length for length in TEXT_LENGTHS if length >= tokens), None)
    if length is None:
        return states, mask
    if mask is None:
        mask = states.new_ones(rows, tokens, dtype=torch.bool)
    padding = length - tokens
    padded = torch.nn.functional.pad(states, (0, 0, 0, padding))
    return padded, torch.nn.functional.pad(mask.bool(), (0, padding))


def composition(values: Sequence[torch.Tensor], multiple: int) -> Hashable:
    """The shapes of the tensors in `values`, first dimensions rounded up to `multiple`, and in what
    proportion they come: lists of equal composition make equal shapes within a network that lays
    their tensors end to end, however many are joined."""
    shapes = Counter(
        (math.ceil(len(each) / multiple), tuple(each.shape[1:]), each.dtype, each.device)
        for each in values
    )
    smallest = math.gcd(*shapes.values())
    return frozenset((shape, times // smallest) for shape, times in shapes.items())


def spread(values: Sequence[torch.Tensor], count: int) -> list[torch.Tensor]:
    """`count` of `values`, evenly, so that they have the same composition where that can be."""
    return [values[index * len(values) // count] for index in range(count)]


def longest(mask: torch.Tensor) -> Hashable:
    """Tokens of the longest row, and whether others are shorter: what decides the shapes within a
    network that cuts texts itself. Reads from the device."""
    tokens = mask.sum(dim=1).tolist()
    return max(tokens), len(set(tokens)) > 1
