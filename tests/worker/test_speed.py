from worker.speed import KNOWN_AFTER_S, LASTS_S, Speed


def test_nothing_is_told_before_it_was_busy_for_a_while() -> None:
    speed = Speed()
    speed.did(3.0)
    speed.was_busy(KNOWN_AFTER_S / 2)
    assert speed.value is None
    speed.was_busy(KNOWN_AFTER_S / 2)
    assert speed.value == 3.0 / KNOWN_AFTER_S


def test_what_was_long_ago_counts_less_and_less() -> None:
    speed = Speed()
    for each, seconds in ((4.0, LASTS_S), (1.0, LASTS_S), (1.0, 9 * LASTS_S)):
        for _ in range(round(10 * seconds)):
            speed.did(0.1 * each)
            speed.was_busy(0.1)
        if seconds == LASTS_S and each == 1.0:
            assert 1.5 < speed.value < 3
    assert 1 <= speed.value < 1.01
