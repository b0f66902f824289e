"""Jobs as an engine has them under way: claimed and begun."""

from collections.abc import Sequence
from uuid import uuid4

from darkroom.queue.claim import Claim
from darkroom.queue.queue import Queue
from worker.beginning import Beginning


def begun(
    queue: Queue, *, engine: str = "e", worker: str = "w", queues: Sequence[str], token: str = ""
) -> Claim | None:
    """Claim the next job and begin it; None if there is none."""
    claim = queue.claim(engine=engine, queues=queues, token=token or uuid4().hex)
    return claim and queue.begin(claim, worker)


def begin_what_is_asked(beginning: Beginning) -> None:
    """What the engine's thread for it does, in this one."""
    while not beginning._asked.empty():
        job = beginning._asked.get()
        assert job is not None
        beginning.begin(job)
