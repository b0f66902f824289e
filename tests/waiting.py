"""Waits for what another thread or process brings about; asks, and never counts on a time."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], patience_s: float = 30) -> None:
    """Fails the test if it does not come about."""
    give_up = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.005)
