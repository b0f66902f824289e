"""Calls as they are brought into a form for joining, joined and split."""

from typing import Any

import pytest
import torch

from worker.gathering.joinable import JOINABLE, Rows
from worker.gathering.rows import NotJoinableError, join, normalize, split

LISTED = Rows(("x", "t"), timestep=None, lists={"x": 1})


@pytest.mark.parametrize(
    "arguments",
    [
        {"encoder_hidden_states": torch.zeros(1, 7, 16)},
        {"added_cond_kwargs": {"time_ids": torch.zeros(4, 6)}},
        {"cross_attention_kwargs": {"masks": torch.zeros(2, 3)}},
        {"cross_attention_kwargs": {"masks": [object(), {1, 2}]}},
    ],
    ids=["fewer rows", "more rows", "a shared tensor", "nothing to compare"],
)
def test_arguments_that_cannot_be_joined_are_told(arguments: dict[str, Any]) -> None:
    whole = {"sample": torch.zeros(2, 4, 8, 8), "timestep": 5, **arguments}
    with pytest.raises(NotJoinableError):
        normalize(JOINABLE["UNet2DConditionModel"], whole)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": [torch.zeros(4, 8)], "t": torch.zeros(2)},
        {"x": [[torch.zeros(4, 8)]], "t": torch.zeros(1)},
    ],
    ids=["other rows", "lists of lists"],
)
def test_lists_that_cannot_be_joined_are_told(arguments: dict[str, Any]) -> None:
    with pytest.raises(NotJoinableError):
        normalize(LISTED, arguments)


def test_lists_are_joined_and_split_by_rows_and_not_by_their_tensors() -> None:
    def call(*values: float) -> dict[str, Any]:
        return {"x": [torch.full((3, 2), value) for value in values], "t": torch.tensor(values)}

    calls = [call(1.0, 2.0), call(3.0)]
    assert normalize(LISTED, calls[0])[1] == normalize(LISTED, calls[1])[1]
    whole = join(LISTED, calls, padding=2)
    assert [float(each[0, 0]) for each in whole["x"]] == [1, 2, 3, 1, 2]
    assert whole["t"].tolist() == [1, 2, 3, 1, 1]
    for clone in (False, True):
        first, second = split(LISTED, (whole["x"],), (2, 1), 5, clone=clone)
        assert [float(each[0, 0]) for each in first[0]] == [1, 2]
        assert [float(each[0, 0]) for each in second[0]] == [3]
        assert (first[0][0] is whole["x"][0]) != clone


def test_a_result_of_other_rows_is_told() -> None:
    with pytest.raises(ValueError, match="2 rows from a forward of 3"):
        split(LISTED, [torch.zeros(3)] * 2, (1, 2), 3)
    with pytest.raises(ValueError, match="3 rows from a forward of 2"):
        split(Rows(("x",)), torch.zeros(3, 4), (1, 1), 2)


def test_ids_changed_in_place_are_read_anew() -> None:
    rows = Rows(("x",), timestep=None, alike=frozenset({"ids"}))
    ids = torch.zeros(2, 4, 3)
    keys = [normalize(rows, {"x": torch.zeros(2, 5), "ids": ids})[1] for _ in range(2)]
    ids[0, 0, 0] = 1
    changed = normalize(rows, {"x": torch.zeros(2, 5), "ids": ids})[1]
    assert keys[0] == keys[1] != changed
