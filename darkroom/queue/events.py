"""What a job's events say and who waits for them; the service's side, asyncio, no FastAPI.

The scripts of the queue append each event to the job's stream and publish the job's id and the
event's kind on one channel. A process listens to that channel once, whatever number of its clients
wait, and reads a job once per change, whatever number of them watch it.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Self

from redis.exceptions import RedisError

from darkroom import logs
from darkroom.queue import jobs
from darkroom.queue.exchange import AsyncClient, Exchange, send
from darkroom.queue.shared_read import SharedRead

CHANNEL = "darkroom:events"
RECONNECT_PAUSE_S = 0.5
LISTEN_S = 2.0
HISTORY = 512
"""Events of a watched job that are kept here: as many as its stream in Redis ever holds."""

_EVENT_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)

log = logs.get("events")


@dataclass(frozen=True)
class Event:
    """`kind` is one of `EVENTS` in darkroom/events.py, which says what `data` is; ids grow."""

    id: str
    kind: str
    data: str


class Watch:
    """One of those who watch a job, from before they first read it."""

    def __init__(self, feed: "EventFeed", job: "_Watched", until_end: bool) -> None:
        self._feed = feed
        self._job = job
        self._until_end = until_end
        self._changed = asyncio.Event()

    def ring(self, kind: str) -> None:
        """Wake who watches, if an event of this `kind` concerns them; "" concerns everybody."""
        if kind in ("", "done") or not self._until_end:
            self._changed.set()

    async def changed(self, timeout_s: float) -> bool:
        """Wait for a change since the last call, or since the watch began; False after `timeout_s`
        seconds. True does not promise a change: look for yourself."""
        if self._feed.closing:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    async def look(self) -> jobs.Seen:
        """The job as it is now. Raises QueueUnavailableError."""
        return await self._job.seen.value()

    async def history(self, after: str | None = None) -> list[Event]:
        """What `EventFeed.history` tells of the job. Raises QueueUnavailableError."""
        return await self._job.history(after)


class _Watched:
    """A job that is watched: what was read of it since its last change serves all its watchers."""

    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self.watches: set[Watch] = set()
        self.seen = SharedRead(lambda: client.carry_out(jobs.look(job_id)))
        self._client = client
        self._id = job_id
        self._told: deque[Event] = deque(maxlen=HISTORY)
        self._up_to_date = SharedRead(self._read_on)

    def outdate(self) -> None:
        self.seen.outdate()
        self._up_to_date.outdate()

    def ring(self, kind: str) -> None:
        self.outdate()
        for watch in self.watches:
            watch.ring(kind)

    async def history(self, after: str | None) -> list[Event]:
        await self._up_to_date.value()
        since = _order(after)
        missed = list(takewhile(lambda event: _order(event.id) > since, reversed(self._told)))
        return missed[::-1]

    async def _read_on(self) -> None:
        last = self._told[-1].id if self._told else None
        for event in await self._client.carry_out(_history(self._id, last)):
            # A reading that was overtaken by the next one finds what that one has found already.
            if not self._told or _order(event.id) > _order(self._told[-1].id):
                self._told.append(event)


class EventFeed:
    """Listens to the channel while used as an async context manager."""

    def __init__(self, client: AsyncClient) -> None:
        self.connected = False
        self.closing = False
        self._client = client
        self._watched: dict[str, _Watched] = {}
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._listener:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    def close(self) -> None:
        """Wake all waiters for the last time: their `changed` returns at once from now on."""
        self.closing = True
        self._ring_all()

    @contextlib.asynccontextmanager
    async def watch(self, job_id: str, *, until_end: bool = False) -> AsyncIterator[Watch]:
        """Watch a job. Begin before you read it, so that no change falls in between. Who waits
        `until_end` sleeps through all that happens before."""
        job = self._watched.setdefault(job_id, _Watched(self._client, job_id))
        job.outdate()  # what was read before is too old for who may have changed the job since
        watch = Watch(self, job, until_end)
        job.watches.add(watch)
        try:
            yield watch
        finally:
            job.watches.discard(watch)
            if not job.watches:
                del self._watched[job_id]

    @property
    def waiters(self) -> int:
        """How many watches are open."""
        return sum(len(job.watches) for job in list(self._watched.values()))

    async def history(self, job_id: str, after: str | None = None) -> list[Event]:
        """The job's events after the one with id `after` (an id that was never given out counts as
        none), oldest first: the last 256 or so, for an hour after its end.

        Raises QueueUnavailableError."""
        return await self._client.carry_out(_history(job_id, after))

    async def _listen(self) -> None:
        # redis-py swallows a cancellation that meets it while it connects.
        while not self.closing:
            try:
                await self._hear()
            except (RedisError, OSError) as error:
                log.warning("channel_lost", reason=str(error))
            except Exception:
                log.exception("channel_failed")
            finally:
                self.connected = False
                self._ring_all()
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _hear(self) -> None:
        async with self._client.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL)
            self.connected = True
            self._ring_all()  # something may have happened in the meantime
            while not self.closing:
                message = await pubsub.get_message(timeout=LISTEN_S)
                if message and message["type"] == "message":
                    job_id, _, kind = message["data"].decode().partition(" ")
                    self._ring(job_id, kind)

    def _ring(self, job_id: str, kind: str) -> None:
        if job := self._watched.get(job_id):
            job.ring(kind)

    def _ring_all(self) -> None:
        for job in self._watched.values():
            job.ring("")


def _history(job_id: str, after: str | None) -> Exchange[list[Event]]:
    start = f"({after}" if after and _EVENT_ID.fullmatch(after) else "-"
    rows = yield from send("XRANGE", f"darkroom:events:{job_id}", start, "+")
    return [
        Event(event_id.decode(), fields[b"event"].decode(), fields[b"data"].decode())
        for event_id, fields in rows
    ]


def _order(event_id: str | None) -> tuple[int, ...]:
    """Where an event stands; what is no id stands before all."""
    if event_id is None or not _EVENT_ID.fullmatch(event_id):
        return (-1,)
    return tuple(int(part) for part in event_id.split("-"))
