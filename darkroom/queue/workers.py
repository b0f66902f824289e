"""What each living worker announces; used by all processes, knows no HTTP, no torch.

Workers stand where RQ keeps its own (`rq:workers`, `rq:worker:<name>`), so that `Worker.all` and
`rq info` show them; what RQ has no field for lies beside it as JSON.
"""

import os
import platform
import socket
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from redis import Redis
from rq.utils import utcformat, utcparse
from rq.worker import BaseWorker
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from darkroom.queue.connection import translated
from darkroom.queue.queue import queue_names

_KEY = BaseWorker.redis_worker_namespace_prefix
_INFO = "dr_info"

WorkerState = Literal["starting", "loading", "idle", "busy", "draining"]


@dataclass(frozen=True)
class WorkerInfo:
    """A worker: one supervisor and its engine, on one device."""

    name: str
    engine: str
    """The engine process of now; a restarted one has another name."""
    state: WorkerState
    models: tuple[str, ...]
    """Models it has in memory."""
    serves: tuple[str, ...]
    """Models whose jobs it takes."""
    device: str
    cap: int
    """Jobs that may share a pass."""
    running: int
    """Jobs it holds."""
    version: str
    started_at: datetime
    passes: int = 0
    """Forwards of denoising networks since the engine started."""
    joined_passes: int = 0
    """Those of them that several jobs shared."""
    memory: dict[str, Any] | None = None
    """Bytes of device memory by what they are for, as far as the device tells."""
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    seen_at: datetime | None = None
    """When it last gave a sign of life, on Redis's clock."""


_info = TypeAdapter(WorkerInfo)


def worker_name() -> str:
    """A name for a worker that was given none: host and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


class Workers:
    """The workers that give signs of life. Methods raise QueueUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def announce(self, info: WorkerInfo, ttl_s: float) -> None:
        """Say that the worker lives; without another word it is forgotten after `ttl_s` seconds."""
        key, queues = _KEY + info.name, queue_names(info.serves)
        with translated():
            now = utcformat(self._now())
            with self._redis.pipeline() as pipe:
                pipe.hset(key, mapping=_rq_fields(info, queues, now))
                pipe.pexpire(key, int(ttl_s * 1000))
                pipe.sadd(REDIS_WORKER_KEYS, key)
                for queue in queues:
                    pipe.sadd(WORKERS_BY_QUEUE_KEY % queue, key)
                pipe.execute()

    def leave(self, name: str) -> None:
        """Take the worker off the list at once."""
        key = _KEY + name
        with translated():
            queues = (self._redis.hget(key, "queues") or b"").decode()
            with self._redis.pipeline() as pipe:
                pipe.delete(key)
                pipe.srem(REDIS_WORKER_KEYS, key)
                for queue in queues.split(","):
                    pipe.srem(WORKERS_BY_QUEUE_KEY % queue, key)
                pipe.execute()

    def all(self) -> list[WorkerInfo]:
        """The living workers by name. Workers that are not Darkroom's are left out."""
        with translated():
            keys = sorted(self._redis.smembers(REDIS_WORKER_KEYS))
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.hmget(key, _INFO, "last_heartbeat")
                rows = pipe.execute()
            if dead := [key for key, row in zip(keys, rows, strict=True) if row == [None, None]]:
                self._redis.srem(REDIS_WORKER_KEYS, *dead)
        return [info for row in rows if (info := _read(*row))]

    def _now(self) -> datetime:
        seconds, microseconds = self._redis.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


def _rq_fields(info: WorkerInfo, queues: list[str], now: str) -> dict[str, str | int | bytes]:
    """The worker's hash as RQ's BaseWorker.serialize writes it, and ours beside it."""
    return {
        "birth": utcformat(info.started_at.astimezone(UTC)),
        "last_heartbeat": now,
        "queues": ",".join(queues),
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
