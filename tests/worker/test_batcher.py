import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from worker import batcher
from worker.batcher import PATIENCE, Candidate, urgency
from worker.ledger import Ledger

FREE = {"k": lambda _: 0.1}
"""Of passes that more rows do not make longer."""
PROPORTIONAL = {"k": lambda rows: 0.1 * rows}


def choose(candidates: Sequence[Candidate], **known: Any) -> Sequence[Hashable]:
    return batcher.choose(candidates, **known).owners


def alike(count: int, **known: object) -> list[Candidate]:
    return [
        Candidate(n, "k", **{"rows": 1, "passes": 30, "remaining_s": 3.0, **known})
        for n in range(count)
    ]


def test_nobody_waits_nobody_is_chosen() -> None:
    assert choose([], max_jobs=8) == []


def test_little_work_goes_first_and_brings_its_key() -> None:
    waiting = [
        Candidate("a", "512", 2, remaining_s=9),
        Candidate("b", "768", 2, remaining_s=1),
        Candidate("c", "512", 2, remaining_s=0.5),
        Candidate("d", "768", 2, remaining_s=5),
    ]
    assert choose(waiting, max_jobs=8) == ["c", "a"]


def test_a_short_job_takes_the_place_of_a_long_one_when_the_pass_is_full() -> None:
    waiting = [Candidate(n, "k", 2, remaining_s=60) for n in range(4)]
    waiting.append(Candidate("short", "k", 2, remaining_s=2))
    assert choose(waiting, max_jobs=4) == ["short", 0, 1, 2]


def test_of_equal_jobs_those_that_came_first_go_on_to_their_end() -> None:
    waiting = [Candidate(n, "k", 1, remaining_s=5, held_s=9 - n) for n in range(4)]
    assert choose(waiting, max_jobs=2) == [0, 1]
    ahead = [replace(waiting[0], remaining_s=4), replace(waiting[1], remaining_s=4), *waiting[2:]]
    assert choose(ahead, max_jobs=2) == [0, 1]


def test_waiting_makes_up_for_work() -> None:
    short = Candidate("short", "a", 1, remaining_s=1)
    for held_s, first in ((0, "short"), (6, "short"), (7, "long")):
        long = Candidate("long", "b", 1, remaining_s=2, solo_s=2, held_s=held_s)
        assert choose([short, long], max_jobs=8) == [first]


def test_priorities_weigh_and_do_not_bar() -> None:
    def first(**held: float) -> str:
        likes = {"remaining_s": 1, "solo_s": 1000}
        waiting = [
            Candidate(name, name, 1, priority=name, held_s=held.get(name, 0), **likes)
            for name in ("low", "normal", "high")
        ]
        return choose(waiting, max_jobs=8)[0]

    assert first() == "high"
    assert first(normal=50) == "high"
    assert first(normal=200) == "normal"
    assert first(low=20_000) == "low"


def test_a_job_that_can_just_meet_its_deadline_goes_first_and_one_that_cannot_does_not() -> None:
    def first(deadline_in_s: float) -> str:
        due = Candidate("due", "a", 1, remaining_s=5, deadline_in_s=deadline_in_s)
        return choose([due, Candidate("short", "b", 1)], max_jobs=8)[0]

    assert [first(s) for s in (4.9, 5, 9, 11)] == ["short", "due", "due", "short"]


def test_a_job_held_for_too_long_goes_first_to_its_end() -> None:
    def first(held_s: float, remaining_s: float) -> str:
        long = Candidate("long", "a", 1, remaining_s=remaining_s, solo_s=50, held_s=held_s)
        return choose([long, Candidate("short", "b", 1)], max_jobs=8)[0]

    assert first(50 * PATIENCE, 50) == "short"
    assert first(50 * PATIENCE + 1, 50) == "long"
    older = [Candidate(n, n, 1, solo_s=1, held_s=s) for n, s in (("a", 90), ("b", 91))]
    assert choose(older, max_jobs=8) == ["b"]


def test_a_long_job_ends_in_time_whatever_stream_of_short_ones_comes() -> None:
    """Each pass takes a second and is the whole work of a job that has just come."""
    left, now = 50, 0
    while left:
        long = Candidate("long", "a", 1, remaining_s=left, solo_s=50, held_s=now)
        left -= choose([long, Candidate("short", "b", 1)], max_jobs=8) == ["long"]
        now += 1
        assert now <= 50 * PATIENCE + 51


def test_a_model_can_lower_the_jobs_of_a_pass_but_not_raise_them() -> None:
    for own, expected in ((2, 2), (6, 4), (None, 4)):
        waiting = [Candidate(n, "k", 2, max_jobs=own) for n in range(6)]
        assert len(choose(waiting, max_jobs=4)) == expected


def test_rows_of_a_key_are_limited_but_one_job_always_fits() -> None:
    limits = {"k": 4}
    big = [Candidate("big", "k", 6, remaining_s=0.1), Candidate("small", "k", 1)]
    assert choose(big, max_jobs=8, most_rows=limits) == ["big"]
    some = [Candidate("a", "k", 3), Candidate("b", "k", 2), Candidate("c", "k", 1)]
    assert choose(some, max_jobs=8, most_rows=limits) == ["a", "c"]
    assert choose(some, max_jobs=8, most_rows={"other": 4}) == ["a", "b", "c"]


def test_a_call_that_cannot_be_joined_shares_no_pass() -> None:
    alone, other = Candidate("alone", "k", 2, joinable=False), Candidate("other", "k", 2)
    assert choose([alone, other], max_jobs=8) == ["alone"]
    assert choose([other, alone], max_jobs=8) == ["other"]


def test_who_could_share_the_pass_is_prepared_first_while_it_has_room() -> None:
    coming = Candidate("new", "text", 1, joinable=False, prepares=True, remaining_s=9, passes=30)
    assert choose([*alike(2), coming], max_jobs=8, costs=FREE) == ["new"]
    assert choose([*alike(3), coming], max_jobs=3, costs=FREE) == [0, 1, 2]
    assert choose([*alike(2), coming], max_jobs=8, costs=PROPORTIONAL) == [0]


def test_a_pass_has_room_for_jobs_whose_call_before_it_has_fewer_rows() -> None:
    """As text encoders have: 7 jobs of 2 rows take the time of 16 rows on CUDA, and so do 8."""
    padded = {"k": lambda rows: 0.068 if rows <= 12 else 0.082}
    waiting = alike(7, rows=2)
    coming = [
        Candidate(f"new{n}", n, 1, joinable=False, prepares=True, passes=30, remaining_s=3.0)
        for n in range(3)
    ]
    assert choose([*waiting, *coming], max_jobs=8, costs=padded, behind=14) == ["new0"]


@pytest.mark.parametrize("count", [2, 8, 16])
def test_joining_never_costs(count: int) -> None:
    """Where rows take as long together as one after the other, one after the other ends sooner."""
    assert choose(alike(count), max_jobs=8, costs=PROPORTIONAL) == [0]
    assert len(choose(alike(count), max_jobs=8, costs=FREE)) == min(count, 8)


def test_few_share_a_pass_where_that_ends_them_sooner_and_many_where_others_wait() -> None:
    def width(count: int, behind: int = 0) -> int:
        smooth = {"k": lambda rows: line(rows, {1: 68.3, 2: 79.9, 3: 116.0, 4: 152.8, 8: 291.7})}
        return len(choose(alike(count), max_jobs=8, costs=smooth, behind=behind))

    assert width(2) == 2
    assert width(8) == 2
    assert width(8, behind=1) == width(9) == 8


def line(rows: int, known: dict[int, float]) -> float:
    low, high = max(n for n in known if n <= rows), min(n for n in known if n >= rows)
    share = (rows - low) / (high - low) if high > low else 0
    return known[low] + share * (known[high] - known[low])


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
    st.lists(st.floats(0, 1), min_size=8, max_size=8),
)
def test_the_width_is_the_best_of_all_widths(passes: list[int], more: list[float]) -> None:
    """As far as who waits is concerned and as many again that come after them."""
    took = list(itertools.accumulate(more, initial=1.0))
    passes.sort()
    waiting = [Candidate(n, "k", 1, passes=left, remaining_s=left) for n, left in enumerate(passes)]

    def cost(width: int) -> float:
        ends = list(run(passes, width, lambda jobs: took[jobs]))
        return sum(ends) + len(ends) * max(ends)

    chosen = choose(waiting, max_jobs=8, costs={"k": lambda rows: took[rows]})
    assert chosen == list(range(len(chosen)))
    assert cost(len(chosen)) <= min(map(cost, range(1, len(passes) + 1))) * 1.0201


def run(passes: list[int], width: int, took: Callable[[int], float]) -> Iterator[float]:
    """Pass by pass, when each ends."""
    waiting, running, now = list(passes), [], 0.0
    while waiting or running:
        while waiting and len(running) < width:
            running.append(waiting.pop(0))
        now += took(len(running))
        running = [left - 1 for left in running]
        yield from [now for left in running if left == 0]
        running = [left for left in running if left]


class Company(RuleBasedStateMachine):
    """Jobs come in any order and run as they are chosen, where a pass takes a second; whoever stays
    has its turn within the bound that `PATIENCE` states."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, Candidate] = {}
        self.came: dict[int, int] = {}
        self.now = self.born = 0

    @rule(
        key=st.sampled_from("abc"),
        rows=st.integers(1, 4),
        passes=st.integers(1, 12),
        joinable=st.booleans(),
        priority=st.sampled_from(["high", "normal", "low"]),
        deadline_in_s=st.sampled_from([None, None, 20.0]),
    )
    def come(self, passes: int, deadline_in_s: float | None, **call: object) -> None:
        if len(self.jobs) < 16:
            call |= {"passes": passes, "solo_s": passes, "deadline_in_s": deadline_in_s}
            self.jobs[self.born] = Candidate(owner=self.born, **call)
            self.came[self.born] = self.now
            self.born += 1

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if self.jobs:
            self.jobs.pop(data.draw(st.sampled_from(sorted(self.jobs))))

    @rule(passes=st.integers(1, 40))
    def run(self, passes: int) -> None:
        for _ in range(passes):
            calls = [self.call(owner) for owner in self.jobs]
            chosen = choose(calls, max_jobs=3, most_rows={"a": 6, "b": 2})
            self.check([call for call in calls if call.owner in chosen], chosen)
            self.now += 1
            for owner in chosen:
                left = self.jobs[owner].passes - 1
                self.jobs[owner] = replace(self.jobs[owner], passes=left)
                if left == 0:
                    del self.jobs[owner]

    def call(self, owner: int) -> Candidate:
        job, here = self.jobs[owner], self.now - self.came[owner]
        due = job.deadline_in_s and job.deadline_in_s - here
        more = {"remaining_s": job.passes, "held_s": here, "deadline_in_s": due}
        return replace(job, **more)

    def check(self, calls: list[Candidate], chosen: list[int]) -> None:
        assert bool(calls) == bool(self.jobs)
        assert len(calls) == len(chosen) <= 3
        assert len({call.key for call in calls}) <= 1
        if len(calls) > 1:
            assert sum(call.rows for call in calls) <= {"a": 6, "b": 2, "c": 12}[calls[0].key]
            assert all(call.joinable for call in calls)

    @invariant()
    def nobody_starves(self) -> None:
        """At most PATIENCE times its own work, and then what others that were held before it have
        to do: fifteen jobs of twelve passes."""
        for owner, job in self.jobs.items():
            assert self.now - self.came[owner] <= PATIENCE * job.solo_s + 15 * 12 + job.solo_s

    @invariant()
    def who_was_held_too_long_is_first(self) -> None:
        calls = [self.call(owner) for owner in self.jobs]
        late = [call for call in calls if call.held_s > PATIENCE * call.solo_s]
        if late:
            assert min(calls, key=urgency).held_s == max(call.held_s for call in late)


Company.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, derandomize=True, deadline=None
)
TestCompany = Company.TestCase


def pair(name: str, count: int, **known: Any) -> list[Candidate]:
    """Calls of a client, who brings two rows with each."""
    each = {"passes": 20, "remaining_s": 4.0, "solo_s": 4.0, **known}
    return [Candidate((name, n), "k", 2, client=name, **each) for n in range(count)]


def clients(chosen: Sequence[Hashable]) -> str:
    return "".join(sorted(name for name, _ in chosen))


COSTLY = {"k": lambda rows: 0.03 + 0.012 * rows}


def test_others_share_a_pass_as_far_as_its_client_keeps_its_share_of_the_device() -> None:
    waiting = [*pair("few", 1, remaining_s=1), *pair("many", 9)]
    assert clients(choose(waiting, max_jobs=8, costs=COSTLY)) == "few" + "many" * 2
    assert clients(choose(waiting, max_jobs=8, costs=FREE)) == "few" + "many" * 7
    assert clients(choose(waiting, max_jobs=8, costs=COSTLY, ahead={"few": -1.0})) == "few"
    assert clients(choose(waiting, max_jobs=8, costs=FREE, ahead={"few": -1.0}))[3:] == "many" * 7
    heavy = [*pair("few", 1, remaining_s=1, weight=3), *pair("many", 9)]
    assert clients(choose(heavy, max_jobs=8, costs=COSTLY)) == "few"


def test_a_job_is_prepared_before_those_of_clients_that_come_after_its_own_fill_the_pass() -> None:
    few, coming = pair("few", 4, remaining_s=1), pair("few", 5, prepares=True, joinable=False)[4:]
    assert choose([*few, *coming, *pair("many", 9)], max_jobs=8, costs=FREE) == [("few", 4)]
    others = pair("many", 9, prepares=True, joinable=False)[8:]
    chosen = choose([*few, *pair("many", 8), *others], max_jobs=8, costs=FREE)
    assert clients(chosen) == "few" * 4 + "many" * 4
    behind = {"few": -0.1, "many": 0.1}
    assert choose([*few, *others], max_jobs=8, costs=FREE, ahead=behind) == [
        each.owner for each in few
    ]


def test_a_client_that_is_behind_goes_first_however_little_work_others_have() -> None:
    waiting = [*pair("long", 1), *pair("short", 9, remaining_s=0.5)]
    ahead = {"long": -9.0, "short": 9.0}
    assert "long" not in clients(choose(waiting, max_jobs=8, costs=COSTLY))
    assert clients(choose(waiting, max_jobs=8, costs=COSTLY, ahead=ahead)) == "long"


@pytest.mark.parametrize("hurry", [{"held_s": 1000.0}, {"deadline_in_s": 2.0}])
def test_no_hurry_of_a_client_goes_before_jobs_of_another(hurry: dict[str, float]) -> None:
    waiting = [*pair("short", 1, remaining_s=0.5), *pair("pressing", 9, remaining_s=1.5, **hurry)]
    assert choose(waiting, max_jobs=8, costs=COSTLY)[0] == ("short", 0)


def test_what_calls_in_company_are_worth_is_what_they_would_take_alone() -> None:
    waiting = [*pair("few", 1, remaining_s=1), *pair("many", 2)]
    worth = batcher.choose(waiting, max_jobs=8, costs=COSTLY).worth
    assert worth == pytest.approx({"few": 54 / 102, "many": 78 / 102})
    assert batcher.choose(waiting[:1], max_jobs=8, costs=COSTLY).worth == {"few": 1.0}


@pytest.mark.parametrize("rows_s", [0.0, 0.012, 0.1, 10.0], ids="rows {} s".format)
@pytest.mark.parametrize(("count", "passes", "others"), [(1, 20, 20), (2, 20, 5), (2, 4, 50)])
def test_a_few_jobs_beside_many_of_another_take_twice_as_long_as_alone(
    rows_s: float, count: int, passes: int, others: int
) -> None:
    """And the pass longer that is under way when they come."""
    cost = {"k": lambda rows: 0.03 + rows_s * rows}
    alone_s = seconds_of(count, passes, 0, cost)
    assert seconds_of(count, passes, others, cost) <= 2 * alone_s + cost["k"](16)


def seconds_of(count: int, passes: int, others: int, costs: dict[str, Any]) -> float:
    """Until as many jobs are done that come while ten of another client are under way, each of
    which the next one follows; others: their passes, 0 for none."""
    pass_s, ledger, now = costs["k"], Ledger(), 0.0
    few, born = dict.fromkeys(range(count), passes), count
    many = {-n: max(others * n // 10, 1) for n in range(1, 11)} if others else {}
    while few:
        left = few | many
        calls = [
            replace(*pair(name, 1, passes=n, remaining_s=n * pass_s(2)), owner=owner)
            for name, jobs in (("few", few), ("many", many))
            for owner, n in jobs.items()
        ]
        ledger.present(dict.fromkeys((each.client for each in calls), 1.0))
        choice = batcher.choose(calls, max_jobs=8, costs=costs, ahead=ledger.ahead)
        seconds = pass_s(2 * len(choice.owners))
        ledger.passed(seconds, choice.worth)
        now += seconds
        for owner in choice.owners:
            jobs = few if owner in few else many
            jobs[owner] = left[owner] - 1
            if not jobs[owner]:
                del jobs[owner]
                if jobs is many:
                    born += 1
                    many[-10 - born] = others
    return now
