"""Groups of calls on a network that refuses more rows than memory is said to have room for."""

from collections.abc import Collection, Hashable
from typing import Any

import pytest
import torch

from tests import tiny
from worker.gathering.gather import Gather
from worker.gathering.runner import Outcome, Parts, Runner

Tensor = torch.Tensor


class Short:
    """A gather and its runner on one network, whose memory takes `room` rows at once."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.unet = tiny.unet(cross_attention_dim=16)
        self.unet.conv_in.register_forward_pre_hook(self._refuse)
        self.room, self.passes, self.idle = 99, list[int](), list[str]()
        self.gather = Gather()
        self.gather.wrap(self.unet, "unet")
        self.most_rows: dict[Hashable, int] = {}
        self.runner = Runner(self.gather, most_rows=self.most_rows, evict_idle=self._evict_idle)

    def _refuse(self, _: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > self.room:
            raise torch.OutOfMemoryError(f"{len(inputs[0])} rows are too many")
        self.passes.append(len(inputs[0]))

    def _evict_idle(self, busy: Collection[str]) -> bool:
        if not (leaving := [name for name in self.idle if name not in busy]):
            return False
        self.idle.remove(leaving[0])
        self.room += 2
        return True

    def start(self, *owners: str, rows: int = 2) -> None:
        for owner in owners:
            sample, text = torch.ones(rows, 4, 8, 8), torch.ones(rows, 7, 16)
            self.gather.start(owner, lambda s=sample, t=text: self.unet(s, 5, t).sample)

    def run(self, busy: Collection[str] = ("tiny",), **parts: Any) -> list[Outcome]:
        calls = list(self.gather.parked.values())
        return self.runner.run(calls, Parts("tiny", {"unet": self.unet, **parts}), busy)

    def ended(self) -> set[Hashable]:
        return {each.owner for each in self.gather.take_ended() if each.error is None}


@pytest.fixture
def short() -> Short:
    return Short()


def test_what_fits_is_one_forward_and_nothing_to_tell(short: Short) -> None:
    short.start("a", "b", "c")
    assert short.run() == []
    assert short.passes == [6]
    assert short.ended() == {"a", "b", "c"}


def test_a_group_is_halved_until_it_fits_and_its_limit_is_learned(short: Short) -> None:
    short.room = 2
    short.start("a", "b", "c", "d")
    assert {(each.owner, each.rung) for each in short.run()} == {
        (owner, "smaller_group") for owner in "abcd"
    }
    assert short.passes == [2, 2, 2, 2]
    assert short.ended() == {"a", "b", "c", "d"}
    assert list(short.most_rows.values()) == [2]


def test_models_without_jobs_leave_before_anything_else_is_tried(short: Short) -> None:
    short.room, short.idle = 0, ["tiny", "other", "third"]
    short.start("a")
    assert short.run() == [Outcome("a", "models_evicted")]
    assert short.idle == ["tiny", "third"]
    short.start("b")
    assert short.run() == [], "nothing is to be repeated once others have left"


def test_what_nothing_helps_stays_parked_and_the_others_of_its_group_go_on(short: Short) -> None:
    short.room = 2
    short.start("small", rows=1)
    short.start("large", rows=4)
    # One key takes any number of rows, so that both are of one group.
    small, large, failed = short.run()
    assert [small.rung, large.rung] == ["smaller_group"] * 2
    assert (failed.owner, failed.rung) == ("large", None)
    assert "4 rows" in str(failed.error)
    assert short.ended() == {"small"}
    assert list(short.gather.parked) == ["large"]
    short.gather.throw("large", failed.error)
    assert short.ended() == set()
    assert short.gather.running == 0


def test_the_rung_that_helped_is_taken_at_once_the_next_time(short: Short) -> None:
    other = torch.nn.Linear(1, 1)
    weight, refused = other.weight, list[int]()
    place = weight.data_ptr()

    def refuse(*_: object) -> None:
        if weight.data_ptr() == place:
            refused.append(1)
            raise torch.OutOfMemoryError("no room beside another part of the model")

    short.unet.conv_in.register_forward_pre_hook(refuse)
    short.start("a")
    assert short.run(other=other) == [Outcome("a", "offload")]
    place = weight.data_ptr()  # where it rests from now on: on a CPU nothing moves it back
    short.start("b")
    assert short.run(other=other) == [Outcome("b", "offload")]
    assert len(refused) == 1
