"""Threads without which the engine must not go on; knows neither Redis nor torch."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from darkroom import logs

log = logs.get("vital")


@contextmanager
def or_exit(thread: str, **about: str) -> Iterator[None]:
    """What is not expected in the block ends the process, so that the supervisor starts another
    engine and gives the jobs back."""
    went_well = False
    try:
        yield
        went_well = True
    except (Exception, SystemExit):
        log.exception("thread_died", thread=thread, **about)
    finally:
        if not went_well:
            os._exit(1)


class Vital(threading.Thread):
    """Ends the process with it when its `work` ends with an error."""

    def work(self) -> None:
        """All that the thread does."""
        raise NotImplementedError

    def run(self) -> None:
        with or_exit(self.name):
            self.work()
