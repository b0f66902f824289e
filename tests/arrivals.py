"""Jobs as they arrive at an engine's loop, one by one."""

from collections import deque

from worker.held import HeldJobs
from worker.running import RunningJob


class Arrivals:
    """Stands where the loop stands."""

    def __init__(self, held: HeldJobs) -> None:
        self._held = held
        self._taken: deque[RunningJob] = deque()

    def next(self) -> RunningJob:
        for _ in range(40):
            if self._taken:
                return self._taken.popleft()
            self._taken.extend(self._held.take_arrived(0.5))
        raise AssertionError("no job arrived")
