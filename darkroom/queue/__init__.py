"""The only place that knows Redis and RQ: transitions, events, workers, connections."""

from typing import NoReturn


def only_a_darkroom_worker_runs_this(*_: object, **__: object) -> NoReturn:
    """What a plain `rq worker` gets to run when somebody points it at Darkroom's queues. Stored
    jobs name it by this very path."""
    raise RuntimeError("This job belongs to Darkroom: start `darkroom worker`, not `rq worker`.")
