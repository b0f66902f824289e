"""How long to wait before what failed is tried again; knows no processes."""

AFTER_A_FAULT_S = 0.5
"""Between two calls of a Redis or an image store that is away."""

SHORTEST_S = 0.5
LONGEST_S = 30.0


def back_off_s(last_s: float, *, steady: bool) -> float:
    """Seconds to wait after a process ended: twice the `last_s` waited before it was started,
    within bounds; the shortest again where it had run `steady`."""
    return SHORTEST_S if steady else min(max(SHORTEST_S, last_s * 2), LONGEST_S)
