"""How long to wait before a process that died is started again; knows no processes."""

SHORTEST_S = 0.5
LONGEST_S = 30.0


def back_off_s(last_s: float, *, steady: bool) -> float:
    """Seconds to wait after the process ended: twice the `last_s` waited before it was started,
    within bounds; the shortest again where it had run `steady`."""
    return SHORTEST_S if steady else min(max(SHORTEST_S, last_s * 2), LONGEST_S)
