"""What each living worker announces; used by all processes, knows no HTTP, no torch.

Workers stand where RQ keeps its own (`rq:workers`, `rq:worker:<name>`), so that `Worker.all` and
`rq info` show them; what RQ has no field for lies beside it as JSON.
"""

import os
import platform
import socket
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, TypeAdapter, ValidationError
from redis import Redis
from rq.utils import utcformat, utcparse
from rq.worker import BaseWorker
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from darkroom.errors import WorkerNotFoundError
from darkroom.queue.exchange import Client, Exchange, Send, run, send
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.queue import queue_names

_KEY = BaseWorker.redis_worker_namespace_prefix
_INFO = "dr_info"

WorkerState = Literal["starting", "loading", "idle", "busy", "draining"]


@dataclass(frozen=True)
class WorkerInfo:
    """A worker: one supervisor and its engine, on one device."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Its name."""
    engine: str
    """The engine process of now; a restarted one has another name."""
    state: WorkerState
    """What it does."""
    models: tuple[str, ...]
    """Models it has in memory."""
    serves: tuple[str, ...]
    """Models whose jobs it takes."""
    device: str
    """What it runs on, such as cuda:0."""
    max_jobs: Annotated[int, Field(validation_alias=AliasChoices("max_jobs", "cap"))]
    """Jobs that may share a pass; workers of version 0.1 called it `cap`."""
    running: int
    """Jobs that it has begun and not ended."""
    version: str
    """Of Darkroom."""
    started_at: datetime
    """When its supervisor started."""
    loads: str | None = None
    """The model that it is loading or compiling."""
    passes: int = 0
    """Forwards of denoising networks since the engine started."""
    joined_passes: int = 0
    """Those of them that several jobs shared."""
    speed: float | None = None
    """Seconds of work, as jobs would need them alone, that it gets through in a second of being
    busy: more than 1 where jobs share passes; null until it was busy for a second."""
    memory: dict[str, Any] | None = None
    """Bytes of device memory by what they are for, as far as the device tells."""
    host: str = field(default_factory=socket.gethostname)
    """The machine it is on."""
    pid: int = field(default_factory=os.getpid)
    """The process id of its supervisor."""
    seen_at: datetime | None = None
    """When it last gave a sign of life, on Redis's clock."""

    @property
    def takes_jobs(self) -> bool:
        """Whether it has started: one that loads a model for a job has, one that prepares for its
        first has not."""
        return self.state in ("idle", "busy") or (self.state == "loading" and self.running > 0)


_info = TypeAdapter(WorkerInfo)


def worker_name() -> str:
    """A name for a worker that was given none: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Workers(Client):
    """The workers that give signs of life. Methods raise QueueUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, {"announce": scripts(PLAIN_RULES)["announce"]})

    def announce(self, info: WorkerInfo, ttl_s: float) -> bool:
        """Say that the worker lives; without another word it is forgotten after `ttl_s` seconds.
        A full Redis takes it. Returns whether the worker has been told to drain."""
        return self.carry_out(_announce(info, ttl_s))

    def leave(self, name: str) -> None:
        """Take the worker off the list at once."""
        self.carry_out(_leave(name))

    def all(self) -> list[WorkerInfo]:
        """The living workers by name. Workers that are not Darkroom's are left out."""
        return self.carry_out(living())


def living() -> Exchange[list[WorkerInfo]]:
    """The living workers by name. Workers that are not Darkroom's are left out."""
    keys = sorted((yield from send("SMEMBERS", REDIS_WORKER_KEYS)))
    rows = yield Send(tuple(("HMGET", key, _INFO, "last_heartbeat") for key in keys))
    return [info for row in rows if (info := _read(*row))]


def drain(name: str) -> Exchange[WorkerInfo]:
    """Tell a worker to end as at SIGTERM; it hears so within a second. What it announced last.

    Raises WorkerNotFoundError if none of this name lives."""
    answer = yield from run("drain", _KEY + name)
    info = _read(*answer) if answer else None
    if info is None:
        raise WorkerNotFoundError(f"No worker that lives is called {name[:100]!r}.")
    return info


def _announce(info: WorkerInfo, ttl_s: float) -> Exchange[bool]:
    queues, fields = queue_names(info.serves), chain.from_iterable(_rq_fields(info).items())
    about = _KEY + info.name, int(ttl_s * 1000), len(queues)
    return bool((yield from run("announce", *about, *queues, *fields)))


def _leave(name: str) -> Exchange[None]:
    key = _KEY + name
    queues = ((yield from send("HGET", key, "queues")) or b"").decode()
    yield Send(
        (
            ("DEL", key),
            ("SREM", REDIS_WORKER_KEYS, key),
            *(("SREM", WORKERS_BY_QUEUE_KEY % queue, key) for queue in queues.split(",")),
        ),
        atomic=True,
    )


def _rq_fields(info: WorkerInfo) -> dict[str, str | int | bytes]:
    """The worker's hash as RQ's BaseWorker.serialize writes it, and ours beside it; the script adds
    when that was."""
    return {
        "birth": utcformat(info.started_at.astimezone(UTC)),
        "queues": ",".join(queue_names(info.serves)),
        "pid": info.pid,
        "hostname": info.host,
        "ip_address": "",
        "version": info.version,
        "python_version": platform.python_version(),
        "state": info.state,
        _INFO: _info.dump_json(info, exclude={"seen_at"}),
    }


def _read(info: bytes | None, seen: bytes | None) -> WorkerInfo | None:
    try:
        return replace(_info.validate_json(info or b""), seen_at=utcparse((seen or b"").decode()))
    except (ValidationError, ValueError):
        return None
