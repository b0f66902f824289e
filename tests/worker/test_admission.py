from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis

from darkroom.catalog import Catalog
from darkroom.errors import Released
from darkroom.images import ImageStore
from darkroom.model_card import ModelCard
from darkroom.queue.queue import Queue
from tests.worker.test_held import job as claimed
from worker.admission import Admission, in_order, must_let_others_go_first, must_wait
from worker.at_work import AtWork
from worker.beginning import Beginning
from worker.held import HeldJobs
from worker.running import RunningJob

CARDS = [
    ModelCard(name="here", source="s"),
    ModelCard(name="away", source="s"),
    ModelCard(name="pinned", source="s", pinned=True),
    ModelCard(name="offloaded", source="s", offload="model"),
]


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


def test_the_shorter_goes_first() -> None:
    long, short = job("long", work_s=30.0), job("short", work_s=2.0)
    assert in_order([long, short], ["here"]) == [short, long]


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


def test_nobody_stands_back_for_itself() -> None:
    alone = job("alone", "away")
    alone.needs_room = True
    assert not must_let_others_go_first(alone, [alone], 0)


@pytest.fixture
def admission(redis: Redis, tmp_path: Path) -> Admission:
    """Two places, and a model that is in memory."""
    queue, store, held = Queue(redis), ImageStore(tmp_path), HeldJobs()
    beginning = Beginning(jobs=queue, store=store, held=held, worker="w", at_work=AtWork())
    catalog = Catalog(CARDS, "here", tmp_path)
    return Admission(catalog, beginning, lambda: ["here"], lambda *_: True, 2, 30.0)


def test_as_many_begin_as_there_are_places_and_one_more_when_one_is_about_to_be_free(
    admission: Admission,
) -> None:
    jobs = [job(token) for token in "abcd"]
    admission.begin_waiting(jobs)
    assert [each.is_under_way for each in jobs] == [True, True, False, False]
    jobs[0].step(9, 10, None)
    admission.begin_waiting(jobs)
    assert [each.is_under_way for each in jobs] == [True, True, True, False]


def test_one_of_high_priority_does_not_wait_for_a_place(admission: Admission) -> None:
    usual = [job("a"), job("b"), job("c")]
    admission.begin_waiting(usual)
    urgent = [job("x", priority="high"), job("y", priority="high")]
    admission.begin_waiting([*usual, *urgent])
    assert [each.is_under_way for each in urgent] == [True, False], "half as many again"
    assert not usual[2].is_under_way


def test_one_of_a_client_with_less_than_its_share_does_not_wait_for_a_place(
    admission: Admission,
) -> None:
    many = [job(name, owner="many") for name in "abcd"]
    admission.begin_waiting(many)
    few = [job("x", owner="few"), job("y", owner="few")]
    admission.begin_waiting([*many, *few])
    assert [each.is_under_way for each in few] == [True, False], "one of two places is its share"
    many[0].step(9, 10, None)
    many[1].step(9, 10, None)
    admission.begin_waiting([*many, *few])
    assert [each.is_under_way for each in few] == [True, True], "who has less under way goes first"


def test_even_where_there_is_one_place(admission: Admission) -> None:
    admission.places = 1
    jobs = [job("a", owner="many"), job("b", owner="many"), job("x", owner="few")]
    admission.begin_waiting(jobs)
    assert [each.is_under_way for each in jobs] == [True, False, True]


def test_one_in_eight_begins_goes_to_whoever_has_waited_longest(admission: Admission) -> None:
    admission.places = 1
    long, begun = job("long", work_s=500.0, queued_s=9.0), []
    while not long.is_under_way:
        assert len(begun) < 16
        jobs = [long, job(f"short-{len(begun)}", work_s=0.1)]
        admission.begin_waiting(jobs)
        begun += [each for each in jobs if each.is_under_way]
    assert begun.index(long) == 7


def test_nobody_of_a_model_that_stays_holds_back_for_who_waits_for_room(
    admission: Admission,
) -> None:
    admission.has_room_for = lambda models, _: "away" not in models
    waits = job("waits", "away", queued_s=100)
    waits.needs_room = True
    pinned, usual = job("p", "pinned"), job("u")
    admission.begin_waiting([waits, pinned, usual])
    assert (pinned.is_under_way, usual.is_under_way) == (True, False)


def test_an_offloaded_model_has_one_job_at_a_time(admission: Admission) -> None:
    jobs = [job("a", "offloaded"), job("b", "offloaded")]
    admission.begin_waiting(jobs)
    admission.begin_waiting(jobs)
    assert [each.is_under_way for each in jobs] == [True, False]


def test_nothing_is_held_beside_a_job_that_runs_alone(admission: Admission) -> None:
    suspect, others = job("s", attempt=SUSPECT), [job("a"), job("b")]
    admission.begin_waiting([others[0], suspect, others[1]])
    assert suspect.is_under_way
    assert not any(each.is_under_way for each in others)
    assert all(isinstance(each.interrupt, Released) for each in others)
