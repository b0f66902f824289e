"""Who waits for events of jobs, and when to look for them; the service's side, asyncio, no FastAPI.

The scripts of the queue append each event to streams (`event_log.py`) and publish the job's id, the
event's kind and the job's owner on one channel. A process listens to that channel once, whatever
number of its clients wait, and reads a job or a stream once per change, whatever number watch it.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol, Self, TypeVar

from redis.exceptions import RedisError

from darkroom import logs
from darkroom.queue import jobs
from darkroom.queue.calls import service_channel
from darkroom.queue.event_log import Event, Place, Tail, place, read, stream_of, stream_of_job
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.shared_read import SharedRead

CHANNEL = "darkroom:events"
LEFT = "left"
"""What the channel tells of a job in place of a kind of event: its client went away."""
KEYS_CHANGED = "keys changed"
"""What the channel tells when a key of the API was made, changed or revoked."""
RECONNECT_PAUSE_S = 0.5
LISTEN_S = 2.0
CANCEL_AGAIN_S = 1.0
CONNECTIONS = 4
"""To Redis, of all who wait in one process: one that listens, three that read."""
HISTORY = 512
"""Events of a watched job that are kept here: as many as its stream in Redis ever holds."""
LATEST = 128
"""Events of a watched owner that are kept here."""
ENDED_JOBS = 64
"""Ended jobs of a watched owner that are kept here, for so many seconds:"""
ENDED_S = 1.0

log = logs.get("events")


class Waiter:
    """One who waits for something to change, from before they first look."""

    def __init__(self, feed: "EventFeed") -> None:
        self._feed = feed
        self._changed = asyncio.Event()

    def ring(self, kind: str) -> None:  # noqa: ARG002
        """Wake who waits, if an event of this `kind` concerns them; "" concerns everybody."""
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


class Watch(Waiter):
    """One of those who watch a job."""

    def __init__(self, feed: "EventFeed", job: "_Job", *, until_end: bool) -> None:
        super().__init__(feed)
        self._job, self._until_end = job, until_end

    def ring(self, kind: str) -> None:
        if kind in ("", LEFT, "done") or not self._until_end:
            super().ring(kind)

    async def look(self) -> jobs.Seen:
        """The job as it is now. Raises QueueUnavailableError."""
        return await self._job.seen.value()

    async def at_rest(self) -> None:
        """Wait until no look at the job is on its way any more, a second at most."""
        await self._job.seen.at_rest()

    async def history(self, after: str | None = None) -> list[Event]:
        """What `EventFeed.history` tells of the job. Raises QueueUnavailableError."""
        return await self._job.events.after(after)


class OwnerWatch(Waiter):
    """One of those who watch all jobs of an owner, or all there are."""

    def __init__(self, feed: "EventFeed", owner: "_Owner") -> None:
        super().__init__(feed)
        self._owner = owner

    async def look(self, job_id: str) -> jobs.Seen:
        """A job that has ended, as it was a second ago at most. Raises QueueUnavailableError."""
        return await self._owner.ended(job_id)

    async def history(self, after: str) -> list[Event]:
        """The events after that one, oldest first, or some of them: ask on until there are none.
        Raises QueueUnavailableError."""
        return await self._owner.events.after(after)


class _Watched(Protocol):
    """What was read since its last change serves all who watch it."""

    watchers: set[Waiter]

    def outdate(self) -> None:
        """It has changed."""


K = TypeVar("K")
W = TypeVar("W", bound=_Watched)


class _Job:
    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self.watchers: set[Waiter] = set()
        self.seen = SharedRead(lambda: client.carry_out(jobs.look(job_id)))
        self.events = Tail(client, stream_of_job(job_id), most=HISTORY, whole=True)

    def outdate(self) -> None:
        self.seen.outdate()
        self.events.outdate()


class _Owner:
    def __init__(self, client: AsyncClient, owner: str | None) -> None:
        self.watchers: set[Waiter] = set()
        self.events = Tail(client, stream_of(owner), most=LATEST, whole=False)
        self._client = client
        self._ended: dict[str, SharedRead[jobs.Seen]] = {}

    def outdate(self) -> None:
        self.events.outdate()

    async def ended(self, job_id: str) -> jobs.Seen:
        if job_id not in self._ended:
            reading = SharedRead(lambda: self._client.carry_out(jobs.look(job_id)), lasts_s=ENDED_S)
            self._ended[job_id] = reading
            if len(self._ended) > ENDED_JOBS:
                del self._ended[next(iter(self._ended))]
        return await self._ended[job_id].value()


class EventFeed:
    """Listens to the channel while used as an async context manager."""

    def __init__(
        self, client: AsyncClient, keys_changed: Callable[[], None] = lambda: None
    ) -> None:
        """`keys_changed` is called when keys of the API may have changed, before all who wait are
        woken."""
        self.connected = False
        self.service = secrets.token_hex(8)
        """A name for this process, which is subscribed to its `service_channel` while connected."""
        self._keys_changed = keys_changed
        self.closing = False
        self.client = client
        self._jobs: dict[str, _Job] = {}
        self._owners: dict[str | None, _Owner] = {}
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        # More than once: redis-py swallows a cancellation that meets it while it connects.
        while self._listener and not self._listener.done():
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=CANCEL_AGAIN_S)

    def close(self) -> None:
        """Wake all waiters for the last time: their `changed` returns at once from now on."""
        self.closing = True
        self._ring_all()

    @contextlib.asynccontextmanager
    async def watch(self, job_id: str, *, until_end: bool = False) -> AsyncIterator[Watch]:
        """Watch a job. Begin before you read it, so that no change falls in between. Who waits
        `until_end` sleeps through all that happens before."""
        job = self._jobs.setdefault(job_id, _Job(self.client, job_id))
        with _watching(self._jobs, job_id, watch := Watch(self, job, until_end=until_end)):
            yield watch

    @contextlib.asynccontextmanager
    async def watch_all(self, owner: str | None) -> AsyncIterator[OwnerWatch]:
        """Watch all jobs of an owner; None: all there are."""
        watched = self._owners.setdefault(owner, _Owner(self.client, owner))
        with _watching(self._owners, owner, watch := OwnerWatch(self, watched)):
            yield watch

    @property
    def waiters(self) -> int:
        """How many watches are open."""
        return sum(len(watched.watchers) for watched in self._all())

    async def history(self, job_id: str, after: str | None = None) -> list[Event]:
        """The job's events after the one with id `after` (an id that was never given out counts as
        none), oldest first: the last 256 or so, for an hour after its end.

        Raises QueueUnavailableError."""
        return await self.client.carry_out(read(stream_of_job(job_id), after))

    async def place(self, owner: str | None, after: str | None) -> Place:
        """Where among the events of all jobs of an owner, or of all there are, to go on for who has
        those up to `after`, or begins now. Raises QueueUnavailableError."""
        return await self.client.carry_out(place(stream_of(owner), after))

    async def _listen(self) -> None:
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
        async with self.client.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(CHANNEL, service_channel(self.service))
            self.connected = True
            self._may_all_have_changed()
            while not self.closing:
                message = await pubsub.get_message(timeout=LISTEN_S)
                if message and message["type"] == "message":
                    self._tell(message["data"].decode())

    def _tell(self, news: str) -> None:
        if news == KEYS_CHANGED:
            self._may_all_have_changed()
            return
        job_id, kind, owner, *_ = (*news.split(" "), "", "")
        concerned = self._jobs.get(job_id), self._owners.get(owner), self._owners.get(None)
        for watched in concerned:
            if watched:
                _ring(watched, kind)

    def _may_all_have_changed(self) -> None:
        self._keys_changed()
        self._ring_all()

    def _ring_all(self) -> None:
        for watched in self._all():
            _ring(watched, "")

    def _all(self) -> list[_Watched]:
        return [*self._jobs.values(), *self._owners.values()]


@contextlib.contextmanager
def _watching(there: dict[K, W], key: K, waiter: Waiter) -> Iterator[None]:
    """Let `waiter` be among those who watch what `there` has under `key`; the last one to leave
    takes it away."""
    watched = there[key]
    watched.outdate()  # what was read before is too old for who may have changed it since
    watched.watchers.add(waiter)
    try:
        yield
    finally:
        watched.watchers.discard(waiter)
        if not watched.watchers:
            del there[key]


def _ring(watched: _Watched, kind: str) -> None:
    watched.outdate()
    for watcher in watched.watchers:
        watcher.ring(kind)
