from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from worker.batcher import PATIENCE, Candidate, choose, slack


def test_nobody_waits_nobody_is_chosen() -> None:
    assert choose([], max_jobs=8) == []


def test_least_slack_goes_first_and_brings_its_key() -> None:
    waiting = [
        Candidate("a", "512", 2, slack_s=9),
        Candidate("b", "768", 2, slack_s=1),
        Candidate("c", "512", 2, slack_s=0.5),
        Candidate("d", "768", 2, slack_s=5),
    ]
    assert choose(waiting, max_jobs=8) == ["c", "a"]


def test_a_short_job_takes_the_place_of_a_long_one_when_the_pass_is_full() -> None:
    waiting = [Candidate(n, "k", 2, slack_s=60) for n in range(4)]
    waiting.append(Candidate("short", "k", 2, slack_s=2))
    assert choose(waiting, max_jobs=4) == ["short", 0, 1, 2]


def test_a_model_can_lower_the_jobs_of_a_pass_but_not_raise_them() -> None:
    for own, expected in ((2, 2), (6, 4), (None, 4)):
        waiting = [Candidate(n, "k", 2, max_jobs=own) for n in range(6)]
        assert len(choose(waiting, max_jobs=4)) == expected


def test_rows_of_a_key_are_limited_but_one_job_always_fits() -> None:
    limits = {"k": 4}
    big = [Candidate("big", "k", 6, slack_s=-1), Candidate("small", "k", 1)]
    assert choose(big, max_jobs=8, most_rows=limits) == ["big"]
    some = [Candidate("a", "k", 3), Candidate("b", "k", 2), Candidate("c", "k", 1)]
    assert choose(some, max_jobs=8, most_rows=limits) == ["a", "c"]
    assert choose(some, max_jobs=8, most_rows={"other": 4}) == ["a", "b", "c"]


def test_a_call_that_cannot_be_joined_shares_no_pass() -> None:
    alone, other = Candidate("alone", "k", 2, joinable=False), Candidate("other", "k", 2)
    assert choose([alone, other], max_jobs=8) == ["alone"]
    assert choose([other, alone], max_jobs=8) == ["other"]


def test_a_call_that_waited_too_long_goes_next_despite_its_slack() -> None:
    def order(ticks_waited: int) -> list[str]:
        patient = Candidate("patient", "rare", 2, slack_s=1e9, ticks_waited=ticks_waited)
        return choose([Candidate("urgent", "k", 2, slack_s=-5), patient], max_jobs=8)

    assert order(PATIENCE - 1) == ["urgent"]
    assert order(PATIENCE) == ["patient"]


def test_slack_shrinks_by_waiting_and_by_deadlines() -> None:
    assert slack(waited_s=0, remaining_s=10, solo_s=10) == 20
    assert slack(waited_s=4, remaining_s=10, solo_s=10) == 16
    assert slack(waited_s=0, remaining_s=10, solo_s=10, deadline_in_s=12) == 2
    assert slack(waited_s=0, remaining_s=1, solo_s=1) < slack(waited_s=0, remaining_s=10, solo_s=10)


def test_priorities_differ_in_how_late_a_job_may_be() -> None:
    slacks = [
        slack(waited_s=1, remaining_s=2, solo_s=2, priority=priority)
        for priority in ("high", "normal", "low")
    ]
    assert slacks == sorted(slacks)
    assert len(set(slacks)) == 3


class Company(RuleBasedStateMachine):
    """Jobs come, run and go in any order; whoever stays gets its turn in time."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, dict[str, object]] = {}
        self.ticks: dict[int, int] = {}
        self.most = 1
        self.born = 0

    @rule(
        key=st.sampled_from("abc"),
        rows=st.integers(1, 4),
        slack_s=st.floats(-100, 100),
        joinable=st.booleans(),
    )
    def come(self, **call: object) -> None:
        self.waiting[self.born] = {"owner": self.born, **call}
        self.ticks[self.born] = 0
        self.born += 1
        self.most = max(self.most, len(self.waiting))

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if self.waiting:
            owner = data.draw(st.sampled_from(sorted(self.waiting)))
            del self.waiting[owner], self.ticks[owner]

    @rule(ticks=st.integers(1, 12))
    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            calls = [
                Candidate(**call, ticks_waited=self.ticks[owner])
                for owner, call in self.waiting.items()
            ]
            chosen = choose(calls, max_jobs=3, most_rows={"a": 6, "b": 2})
            self.check([call for call in calls if call.owner in chosen], chosen)
            for owner in self.ticks:
                self.ticks[owner] = 0 if owner in chosen else self.ticks[owner] + 1

    def check(self, calls: list[Candidate], chosen: list[int]) -> None:
        assert bool(calls) == bool(self.waiting)
        assert len(calls) == len(chosen) <= 3
        assert len({call.key for call in calls}) <= 1
        if len(calls) > 1:
            assert sum(call.rows for call in calls) <= {"a": 6, "b": 2, "c": 12}[calls[0].key]
            assert all(call.joinable for call in calls)

    @invariant()
    def nobody_starves(self) -> None:
        assert all(ticks <= PATIENCE + self.most for ticks in self.ticks.values())


Company.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, derandomize=True, deadline=None
)
TestCompany = Company.TestCase
