"""What a job's events say and who waits for them; the service's side, asyncio, no FastAPI.

The scripts of the queue append each event to the job's stream and publish the job's id on one
channel. A process listens to that channel once, whatever number of its clients wait.
"""

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from redis.exceptions import RedisError

from darkroom import logs
from darkroom.queue.exchange import AsyncClient, Exchange, send

CHANNEL = "darkroom:events"
POLL_S = 1.0
"""How often waiters look for themselves while the channel is not heard."""
RECONNECT_PAUSE_S = 0.5
LISTEN_S = 2.0

_EVENT_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)

log = logs.get("events")


@dataclass(frozen=True)
class Event:
    """`kind` is one of `EVENTS` in darkroom/events.py, which says what `data` is; ids grow."""

    id: str
    kind: str
    data: str


class Watch:
    """Tells one waiter that something about its job may have changed."""

    def __init__(self, feed: "EventFeed") -> None:
        self._feed = feed
        self._changed = asyncio.Event()

    def ring(self) -> None:
        self._changed.set()

    async def changed(self, timeout_s: float) -> bool:
        """Wait for a change since the last call, or since the watch began; False after `timeout_s`
        seconds. While the channel is not heard it returns True every second: look for yourself."""
        if self._feed.closing:
            return True
        poll = not self._feed.connected and timeout_s > POLL_S
        try:
            async with asyncio.timeout(POLL_S if poll else timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return poll
        self._changed.clear()
        return True


class EventFeed:
    """Listens to the channel while used as an async context manager."""

    def __init__(self, client: AsyncClient) -> None:
        self.connected = False
        self.closing = False
        self._client = client
        self._watches: dict[str, set[Watch]] = defaultdict(set)
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
    async def watch(self, job_id: str) -> AsyncIterator[Watch]:
        """Watch a job. Begin before you read it, so that no change falls in between."""
        watch = Watch(self)
        self._watches[job_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]

    @property
    def waiters(self) -> int:
        """How many watches are open."""
        return sum(len(watches) for watches in list(self._watches.values()))

    async def history(self, job_id: str, after: str | None = None) -> list[Event]:
        """The job's events after the one with id `after` (an id that was never given out counts as
        none), oldest first: the last 256 or so, for an hour after its end.

        Raises QueueUnavailableError."""
        return await self._client.carry_out(_history(job_id, after))

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except (RedisError, OSError) as error:
                log.warning("channel_lost", reason=str(error))
            finally:
                self.connected = False
                self._ring_all()
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _hear(self) -> None:
        async with self._client.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL)
            self.connected = True
            self._ring_all()  # something may have happened in the meantime
            while True:
                message = await pubsub.get_message(timeout=LISTEN_S)
                if message and message["type"] == "message":
                    self._ring(message["data"].decode())

    def _ring(self, job_id: str) -> None:
        for watch in self._watches.get(job_id, ()):
            watch.ring()

    def _ring_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.ring()


def _history(job_id: str, after: str | None) -> Exchange[list[Event]]:
    start = f"({after}" if after and _EVENT_ID.fullmatch(after) else "-"
    rows = yield from send("XRANGE", f"darkroom:events:{job_id}", start, "+")
    return [
        Event(event_id.decode(), fields[b"event"].decode(), fields[b"data"].decode())
        for event_id, fields in rows
    ]
