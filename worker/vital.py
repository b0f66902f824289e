"""A thread without which the engine must not go on; knows neither Redis nor torch."""

import os
import threading

from darkroom import logs

log = logs.get("vital")


class Vital(threading.Thread):
    """What its `work` does not expect ends the process, so that the supervisor starts another
    engine and gives the jobs back."""

    def work(self) -> None:
        """All that the thread does."""
        raise NotImplementedError

    def run(self) -> None:
        try:
            self.work()
        except Exception:
            log.exception("thread_died", thread=self.name)
            os._exit(1)
