import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.ledger import Ledger


def ledger(**weights: float) -> Ledger:
    made = Ledger()
    made.present(weights)
    return made


def test_who_gets_a_pass_is_ahead_and_others_are_behind_by_their_shares() -> None:
    kept = ledger(a=1.0, b=3.0)
    kept.passed(8.0, {"a": 1.0})
    assert kept.ahead == {"a": 6.0, "b": -6.0}
    kept.passed(8.0, {"b": 1.0})
    assert kept.ahead == {"a": 4.0, "b": -4.0}


def test_what_sharing_saves_counts_for_nobody() -> None:
    kept = ledger(a=1.0, b=1.0)
    kept.passed(1.0, {"a": 1.0, "b": 0.8})
    assert kept.ahead == {"a": 0.0, "b": 0.0}
    kept.passed(1.0, {"a": 0.9, "b": 0.2})
    assert kept.ahead == pytest.approx({"a": 0.3, "b": -0.3})


def test_who_comes_is_even_and_who_leaves_is_forgotten_but_not_what_others_wait_for() -> None:
    kept = ledger(a=1.0, b=1.0)
    kept.passed(2.0, {"a": 1.0})
    kept.present({"b": 1.0})
    kept.passed(2.0, {"b": 1.0})
    kept.present({"a": 1.0, "b": 1.0})
    assert kept.ahead == {"a": 0.0, "b": -1.0}


def test_a_pass_that_is_told_late_counts_for_those_who_are_there() -> None:
    kept = ledger(b=1.0)
    kept.passed(2.0, {"a": 1.0})
    assert kept.ahead == {"b": -2.0}
    kept.present({})
    kept.passed(2.0, {"b": 1.0})
    assert kept.ahead == {}


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 10), *[st.floats(0, 1)] * 3), max_size=50))
def test_nobody_is_further_ahead_than_others_are_behind(passes: list[tuple[float, ...]]) -> None:
    kept = ledger(a=1.0, b=2.0, c=0.5)
    for seconds, *worth in passes:
        kept.passed(seconds, dict(zip("abc", worth, strict=True)))
        assert sum(kept.ahead.values()) <= 1e-6
