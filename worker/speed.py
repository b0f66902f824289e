"""How much work an engine gets through while it is busy; its loop tells, other threads read, no
torch."""

LASTS_S = 30.0
"""Seconds of being busy over which the mean runs."""
KNOWN_AFTER_S = 1.0
"""Seconds of being busy before which it is not told."""


class Speed:
    """Seconds of work, as the jobs would have needed them alone, done in a second of being busy."""

    def __init__(self) -> None:
        self._done_s = self._busy_s = 0.0
        self.value: float | None = None

    def did(self, work_s: float) -> None:
        """So much work was done."""
        self._done_s += work_s

    def was_busy(self, seconds: float) -> None:
        """So long it took, with all that came between."""
        self._busy_s += seconds
        if self._busy_s > LASTS_S:  # older work counts less and less
            self._done_s *= LASTS_S / self._busy_s
            self._busy_s = LASTS_S
        if self._busy_s >= KNOWN_AFTER_S:
            self.value = round(self._done_s / self._busy_s, 3)
