from types import SimpleNamespace

from tests.worker.test_held import job as claimed
from worker.admission import in_order, must_let_others_go_first, must_wait
from worker.running import RunningJob


def job(token: str, model: str = "here", **claim: float) -> RunningJob:
    one = claimed(token, **claim)
    one.asked = SimpleNamespace(model=model)
    return one


SUSPECT = 2
"""So often an engine died with a job before it runs alone."""


def test_suspects_go_first_then_by_priority_then_those_whose_model_is_there() -> None:
    waiting = [job("a", "away"), job("b"), job("c", "away", attempt=SUSPECT), job("d")]
    waiting += [job("e", priority="low"), job("f", "away", priority="high")]
    ordered = in_order(waiting, ["here"])
    assert [each.claim.token for each in ordered] == ["c", "f", "b", "d", "a", "e"]


def test_the_shorter_goes_first_but_not_for_ever() -> None:
    long, short = job("long", work_s=30.0), job("short", work_s=2.0)
    assert in_order([long, short], ["here"]) == [short, long]
    long.passed_over = 8
    assert in_order([long, short], ["here"]) == [long, short]


def test_a_suspect_waits_for_all_others_and_all_others_for_a_suspect() -> None:
    usual, suspect = job("usual"), job("suspect", attempt=SUSPECT)
    assert not must_wait(usual, [usual])
    assert must_wait(suspect, [usual])
    assert must_wait(usual, [suspect])
    assert not must_wait(suspect, [])


def test_who_waits_for_room_much_longer_holds_back_those_in_the_way() -> None:
    old, young = job("old", "away", queued_s=100), job("young", queued_s=10)
    assert not must_let_others_go_first(young, [old, young], 30)
    old.needs_room = True
    assert must_let_others_go_first(young, [old, young], 30)
    assert not must_let_others_go_first(young, [old, young], 300)
    assert not must_let_others_go_first(old, [old, young], 30)
