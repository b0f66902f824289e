"""Reads a stream of server-sent events through as many connections as that takes; sends nothing."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from darkroom.client.calls import Call, read_shape
from darkroom.client.courses import Patience
from darkroom.client.refusals import NoServiceError, RefusedError, of_code
from darkroom.errors import DarkroomError
from darkroom.events import EVENTS, Interrupted

SILENCE_S = 45.0
"""A comment comes every 15 seconds: what says nothing for so long is broken."""
COME_BACK_S = 1.0
"""Where the service names no time."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job."""

    id: str
    """Its place in the stream, which can be taken up again behind it."""
    kind: str
    """`status`, `progress`, `preview`, `image`, `log`, `done`; `missed` in the stream of all
    jobs."""
    data: BaseModel
    """What it tells: the class that `darkroom.events.EVENTS` has for its kind."""
    job_id: str | None
    """Whose it is; null for `missed`."""


class EventReader:
    """Where a stream is read, and what comes of its bytes."""

    def __init__(self, path: str, job_id: str | None, after: str, patience_s: float) -> None:
        """`job_id`: of a job's own stream, which ends with `done`. `after`: the id of an event."""
        self.done = False
        self._path, self._job_id, self._after = path, job_id, after
        self._patience_s = patience_s
        self._patience = Patience(patience_s)
        self._come_back_s = COME_BACK_S
        self._rest = b""
        self._fields: dict[str, str] = {}

    def call(self) -> Call[None]:
        """Opens the stream behind the last event."""
        self._rest, self._fields = b"", {}
        headers = {"Accept": "text/event-stream"}
        headers |= {"Last-Event-ID": self._after} if self._after else {}
        options = {"headers": headers, "timeout": SILENCE_S}
        return Call("GET", self._path, lambda _: None, options)

    def opened(self, status: int) -> None:
        """204: the job has ended, and nothing was missed."""
        self.done = status == 204

    def pause_s(self, error: DarkroomError | None) -> float:
        """Seconds until it is opened again, once it ended without an error or with one, which is
        raised if that is of no use."""
        return self._come_back_s if error is None else self._patience.pause_s(error)

    def read(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with these bytes. Lines end as server-sent events have it,
        not as text of Unicode does. Raises RefusedError, NoServiceError."""
        self._patience = Patience(self._patience_s)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            name, _, value = line.decode(errors="replace").removesuffix("\r").partition(":")
            if not name and not value:
                yield from self._ended()
            elif name:
                self._fields[name] = value.removeprefix(" ")

    def _ended(self) -> Iterator[Event]:
        """A blank line ends an event."""
        told, self._fields = self._fields, {}
        self._after = told.get("id", self._after)
        if told.get("retry", "").isdecimal():
            self._come_back_s = int(told["retry"]) / 1000
        shape = EVENTS.get(told.get("event", ""))
        if shape is None or "data" not in told:  # an id alone, or what a newer service tells
            return
        values = _object(told["data"])
        job_id = values.pop("job_id", self._job_id)
        data = read_shape(shape, values)
        if isinstance(data, Interrupted):
            self._interrupt(data)
            return
        yield Event(self._after, told["event"], data, job_id)
        self.done = told["event"] == "done" and self._job_id is not None

    def _interrupt(self, why: Interrupted) -> None:
        if not why.retryable:
            raise of_code(why.code, RefusedError)(why.message, code=why.code)


def _object(data: str) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except ValueError:
        values = None
    if not isinstance(values, Mapping):
        raise NoServiceError("The service's answer is no event of a Darkroom.")
    return dict(values)
