"""Streams of events in Redis, and how they are read on; the service's side, asyncio, no FastAPI.

The scripts of the queue append each event to the stream of its job, to that of all jobs of its
owner, and to that of all jobs there are. Ids grow within each of them.
"""

import re
from collections import deque
from dataclasses import dataclass
from itertools import takewhile

from darkroom.queue.exchange import AsyncClient, Exchange, Send, send
from darkroom.queue.shared_read import SharedRead

MOST_KEPT = 4096
"""About how many events the stream of an owner, and that of all jobs, holds."""
KEPT_S = 3600
"""For how many seconds after the last event."""
AT_ONCE = 256
"""Events that are read at a time for one who has far to go."""

_EVENT_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True)
class Event:
    """`kind` is one of `EVENTS` in darkroom/events.py, which says what `data` is; ids grow."""

    id: str
    kind: str
    data: str
    job_id: str | None = None
    """Whose it is; in streams of several jobs."""


@dataclass(frozen=True)
class Place:
    """Where in a stream to go on."""

    after: str
    """The event behind which to go on."""
    has_gap: bool = False
    """Whether events before it may be lost to who goes on there."""


class Tail:
    """The end of a stream: what is new in it is read once for all who follow it."""

    def __init__(self, client: AsyncClient, stream: str, *, most: int, whole: bool) -> None:
        """`most`: how many events are kept here. Others are read for each who asks for them.
        `whole`: begin with what the stream holds already."""
        self._client, self._stream = client, stream
        self._since = "" if whole else None
        """All events after this one are kept here; None until it is known."""
        self._most = most
        self._told: deque[Event] = deque()
        self._up_to_date = SharedRead(self._read_on)

    def outdate(self) -> None:
        """There may be more by now."""
        self._up_to_date.outdate()

    async def after(self, event_id: str | None) -> list[Event]:
        """The events after that one, oldest first; of those that are no longer kept here a part.
        An id that was never given out counts as none. Raises QueueUnavailableError."""
        await self._up_to_date.value()
        position = order(event_id)
        if position < order(self._since):
            return await self._client.carry_out(read(self._stream, event_id, AT_ONCE))
        missed = list(takewhile(lambda event: order(event.id) > position, reversed(self._told)))
        return missed[::-1]

    async def _read_on(self) -> None:
        if self._since is None:
            self._since = (await self._client.carry_out(place(self._stream))).after
        last = self._told[-1].id if self._told else self._since
        for event in await self._client.carry_out(read(self._stream, last)):
            # A reading that was overtaken by the next one finds what that one has found already.
            if not self._told or order(event.id) > order(self._told[-1].id):
                self._told.append(event)
        while len(self._told) > self._most:
            self._since = self._told.popleft().id


def stream_of(owner: str | None) -> str:
    """The events of all jobs of this owner; None: of all jobs there are."""
    return "darkroom:all_events" if owner is None else f"darkroom:all_events:{owner}"


def stream_of_job(job_id: str) -> str:
    """The events of one job."""
    return f"darkroom:events:{job_id}"


def read(stream: str, after: str | None, most: int | None = None) -> Exchange[list[Event]]:
    """The events after that one, oldest first, or the first of them; all without one, or for an id
    that was never given out."""
    start = f"({after}" if after and _EVENT_ID.fullmatch(after) else "-"
    bound = () if most is None else ("COUNT", most)
    rows = yield from send("XRANGE", stream, start, "+", *bound)
    return [_event(event_id, fields) for event_id, fields in rows]


def place(stream: str, after: str | None = None) -> Exchange[Place]:
    """Where to go on for who has the events up to `after`, or begins now. A gap is told of where it
    cannot be ruled out."""
    (seconds, micros), length, first, last = yield Send(
        (
            ("TIME",),
            ("XLEN", stream),
            ("XRANGE", stream, "-", "+", "COUNT", 1),
            ("XREVRANGE", stream, "+", "-", "COUNT", 1),
        )
    )
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    # Ids begin with the time. One of this millisecond may still be given out.
    newest = last[0][0].decode() if last else f"{now_ms - 1}-0"
    if after is None:
        return Place(newest)
    if order(after) > order(newest):  # of another Redis, or of one that lost all it had
        return Place(newest, has_gap=True)
    oldest = order(first[0][0].decode()) if first else (now_ms, 0)
    # A stream that is not full lost nothing but what came so long before its first event that it
    # could expire.
    complete_from = oldest if length >= MOST_KEPT else (oldest[0] - KEPT_S * 1000, 0)
    if (0, 0) < order(after) < complete_from:
        return Place(after if first else newest, has_gap=True)
    return Place(after)


def order(event_id: str | None) -> tuple[int, ...]:
    """Where an event stands; what is no id stands before all."""
    if event_id is None or not _EVENT_ID.fullmatch(event_id):
        return (-1,)
    return tuple(int(part) for part in event_id.split("-"))


def _event(event_id: bytes, fields: dict[bytes, bytes]) -> Event:
    kind, data = fields[b"event"].decode(), fields[b"data"].decode()
    job_id = fields[b"job"].decode() if b"job" in fields else None
    return Event(event_id.decode(), kind, data, job_id)
