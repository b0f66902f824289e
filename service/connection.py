"""One connection of a client: uvicorn's HTTP/1.1 protocol with deadlines, a limit on connections
and strict framing; in the service only, knows no route.

uvicorn by itself waits for ever for a header and for whoever does not read its answer. Of its
kind, Hypercorn bounds reads, but no answer that nobody takes, and Granian the header alone; neither
counts by address. How long a body may take is `BodyLimit`'s to say, which can answer in words.
"""

import asyncio
import logging
import math
import socket
import struct
from contextlib import suppress
from typing import Any

import h11
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from darkroom import logs
from darkroom.errors import BusyError, TooManyAtOnceError
from darkroom.settings import Settings
from service.crowd import Crowd
from service.errors import Fault, answer, code_of, fault_of
from service.framing import StrictConnection
from service.limits import RequestContext, new_request_id, safe_headers

log = logs.get("connection")

WAITING_ROOM = 16
"""Connections beyond the limit that are answered with why they are refused; more are cut off."""
SENT_BYTES = 32 * 1024
"""What a client must take of its answer in each `send_timeout_s`."""

_NOISE = (
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "No supported WebSocket library detected.",
)
"""What uvicorn says of a bad request, without an address; it is said here, or not worth a line."""


class Connection(H11Protocol):
    """Ends when its client is too slow in any direction; `check` has to be called now and then."""

    conn: StrictConnection

    def __init__(self, settings: Settings, crowd: Crowd, **given: Any) -> None:
        super().__init__(**given)
        self.conn = StrictConnection()
        self._settings = settings
        self._crowd = crowd
        self._counted = False
        self._head_by: float | None = None
        """When the next request must be there, whole up to its body; None while there is one or
        while nothing of it has come yet."""
        self._unsent = 0
        self._unsent_since = math.inf

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()
        try:
            self._crowd.enter(self._host)
            self._counted = True
        except (BusyError, TooManyAtOnceError) as error:
            if len(self.connections) > self._crowd.most + WAITING_ROOM:
                transport.abort()
            self.app = RequestContext(refusal(fault_of(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._counted:
            self._crowd.leave(self._host)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._working:
            self._head_by = None
        elif self._head_by is None and self._begun:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._working and self._begun:
            self._expect_head()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent = 0

    def shutdown(self) -> None:
        """Close now, or after the answer that is under way."""
        if self._working:
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def abort(self) -> None:
        """Close at once, whatever is under way; what works for the client hears that it left."""
        self._forget_cycle()
        # A reset: else the system keeps what was not sent for a client that does not take it.
        end = self.transport.get_extra_info("socket")
        with suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def check(self, now: float) -> None:
        """End the connection if its client has been too slow."""
        if self._nobody_reads(now):
            log.warning("answer_not_read", client=self._host)
            self.abort()
        elif self._head_by is not None and now > self._head_by and not self.transport.is_closing():
            self._head_by = None
            if self.conn.their_state is h11.IDLE and self.conn.has_unread:
                allowed = self._settings.header_timeout_s
                self._refuse(408, f"The head of a request has to be sent within {allowed:g} s.")
            else:
                self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what cannot be read as a request, and close. uvicorn calls it."""
        self._refuse(*self.conn.refused)

    @property
    def _host(self) -> str | None:
        return self.client[0] if self.client else None

    @property
    def _working(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _begun(self) -> bool:
        """Whether part of a request is here, or part of one that was answered is still to come."""
        return self.conn.has_unread or self.conn.their_state is h11.SEND_BODY

    def _expect_head(self) -> None:
        self._head_by = self.loop.time() + self._settings.header_timeout_s

    def _nobody_reads(self, now: float) -> bool:
        left = self.transport.get_write_buffer_size()
        if not left:
            self._unsent = 0
        elif not self._unsent or left <= self._unsent - SENT_BYTES:
            self._unsent, self._unsent_since = left, now
        return bool(left) and now - self._unsent_since > self._settings.send_timeout_s

    def _refuse(self, status: int, why: str) -> None:
        log.warning("request_refused", client=self._host, status=status, reason=why)
        self._forget_cycle()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            self.transport.write(self._written(status, why))
        self.transport.close()

    def _forget_cycle(self) -> None:
        if self._working:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _written(self, status: int, why: str) -> bytes:
        request_id = new_request_id()
        scope = {"type": "http", "headers": [], "request_id": request_id}
        response = answer(Request(scope), Fault(status, code_of(status), why))
        response.headers.update({"Connection": "close", **safe_headers(request_id)})
        reason = STATUS_PHRASES[status]
        head = h11.Response(status_code=status, headers=response.raw_headers, reason=reason)
        body = b"" if self.conn.method == b"HEAD" else bytes(response.body)
        events = (head, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self.conn.send(event) for event in events)


def refusal(fault: Fault) -> ASGIApp:
    """An application that answers everything with the same fault, and closes."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        scope["request_id"] = request_id = new_request_id()
        response = answer(Request(scope), fault)
        response.headers.update({"Connection": "close", **safe_headers(request_id)})
        await response(scope, receive, send)

    return refuse


def without_noise(record: logging.LogRecord) -> bool:
    """A filter of the log of uvicorn. What it cancels at its end has nobody left to answer."""
    canceled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not canceled and not record.getMessage().startswith(_NOISE)
