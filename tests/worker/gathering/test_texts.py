"""Texts at few lengths, and lists whose shapes add up to the same."""

import pytest
import torch

from worker.gathering import texts
from worker.gathering.joinable import TEXT_LENGTHS


@pytest.mark.parametrize(("tokens", "length"), [(1, 32), (32, 32), (33, 64), (1024, 1024)])
def test_a_text_is_padded_to_the_next_length_and_masked(tokens: int, length: int) -> None:
    states, mask = texts.pad(torch.ones(2, tokens, 3), None)
    assert states.shape == (2, length, 3)
    assert mask is not None
    assert mask.shape == (2, length)
    assert mask.sum(dim=1).tolist() == [tokens, tokens]
    assert torch.equal(states.sum(dim=2), 3.0 * mask)


def test_a_mask_that_there_was_is_kept() -> None:
    _, mask = texts.pad(torch.ones(2, 3, 3), torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert mask is not None
    assert mask.dtype is torch.bool
    assert mask.sum(dim=1).tolist() == [2, 3]


def test_a_text_beyond_all_lengths_is_left_as_it_is() -> None:
    states = torch.ones(1, TEXT_LENGTHS[-1] + 1, 3)
    assert texts.pad(states, None) == (states, None)


def of(*lengths: int, width: int = 2) -> list[torch.Tensor]:
    return [torch.zeros(length, width) for length in lengths]


def test_a_composition_is_what_lengths_come_in_what_proportion() -> None:
    mixed = texts.composition(of(40, 40, 5, 9), 32)
    assert mixed == texts.composition(of(1, 64), 32)
    assert mixed != texts.composition(of(40, 5, 9), 32)
    assert mixed != texts.composition(of(40, 40), 32)
    assert mixed != texts.composition(of(1, 64, width=3), 32)


def test_what_is_spread_has_the_same_composition() -> None:
    values = of(40, 41, 5, 6)
    for count in (2, 4, 8):
        padding = texts.spread(values, count)
        assert len(padding) == count
        assert texts.composition(padding, 32) == texts.composition(values, 32)


def test_the_longest_text_is_told_and_whether_others_are_shorter() -> None:
    assert texts.longest(torch.tensor([[1, 1, 0], [1, 1, 0]])) == (2, False)
    assert texts.longest(torch.tensor([[1, 0, 0], [1, 1, 0]])) == (2, True)
