from tests.chaos.scaling import Shift, ideal_s


def test_the_ideal_counts_workers_while_they_are_there() -> None:
    assert ideal_s([Shift(0, 10), Shift(0, 10)], 10) == 5
    assert ideal_s([Shift(0, 10), Shift(4, 10)], 10) == 7
    assert ideal_s([Shift(0, 3), Shift(5, 20)], 10) == 12
    assert ideal_s([Shift(0, 3)], 10) == 10
