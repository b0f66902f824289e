"""Calls: requests that are answered when their job has ended, whose clients come again where they
are cut off; sends nothing itself.

Each function is an exchange (`exchange.py`).
"""

import hashlib
import json
from dataclasses import dataclass

from darkroom.queue.exchange import Exchange, run

COME_BACK_S = 10
"""A job whose client left is canceled after so long, unless somebody asks for it again."""


@dataclass(frozen=True)
class Call:
    """A request whose client waits for the job that comes of it."""

    about: str
    """A hash of what is asked for: calls of one owner are equal if it is."""
    service: str
    """The process that the client is connected to, by the name of its `EventFeed`."""
    is_repeat: bool
    """Whether the client says that it asks again. Then it may get the job of an equal call that
    was cut off, each of which is given once; a first try never does."""

    def words(self, owner: str) -> tuple[str, str, str]:
        """As the script reads it."""
        name = hashlib.sha256(json.dumps([owner, self.about]).encode()).hexdigest()
        return f"darkroom:calls:{name}", self.service, "1" if self.is_repeat else ""


NO_CALL = ("", "", "")


def answered(job_id: str) -> Exchange[None]:
    """The client of a job's call has its answer."""
    yield from run("call", job_id, "answered", COME_BACK_S)


def cut_off(job_id: str) -> Exchange[None]:
    """The service could not answer a job's call: the job goes on, the client may come again."""
    yield from run("call", job_id, "cut_off", COME_BACK_S)


def left(job_id: str) -> Exchange[None]:
    """The client of a job's call went away. The job is canceled after `COME_BACK_S`, unless the
    client comes again or anybody watches the job or reads it."""
    yield from run("call", job_id, "left", COME_BACK_S)


def service_channel(service: str) -> str:
    """What a service subscribes to for as long as it lives, so that scripts know it does."""
    return f"darkroom:service:{service}"
