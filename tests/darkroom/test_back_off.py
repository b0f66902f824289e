from darkroom.back_off import LONGEST_S, SHORTEST_S, back_off_s


def test_waits_double_up_to_a_limit_and_begin_anew_after_a_steady_run() -> None:
    waits = [0.0]
    for _ in range(10):
        waits.append(back_off_s(waits[-1], steady=False))
    assert waits[1:4] == [SHORTEST_S, 2 * SHORTEST_S, 4 * SHORTEST_S]
    assert waits[-1] == LONGEST_S
    assert back_off_s(LONGEST_S, steady=True) == SHORTEST_S
