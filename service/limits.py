"""What stands before every route: limits on bodies, a request id, the last handler.

Plain ASGI, in the service only. Starlette's own body limit is not used: where a length is
declared it answers in plain text, and clients are promised problem documents.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from email.utils import formatdate

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from darkroom import logs
from darkroom.errors import BusyError
from service.errors import Fault, answer, fault_of

log = logs.get("service")

BYTES_PER_S = 16 * 1024
"""What a body must bring on average once its first seconds are over."""

_CLOSE = {"Connection": "close"}
_UNSHARED = "private, no-cache"
"""Of answers that say nothing else: shared caches may keep what was asked for with `X-API-Key`."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class BodyLimit:
    """Refuses bodies over `max_bytes`: at once where the length is declared, else while receiving.

    Reading stops there, so a body of any size costs no memory. Refuses too what would take all
    bodies under way over `max_all_bytes`, and bodies that are waited for too long: `timeout_s`, and
    a second more for each `BYTES_PER_S`."""

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        max_all_bytes: int,
        timeout_s: float,
        *,
        max_streamed_bytes: int = 0,
    ) -> None:
        """`max_streamed_bytes`: of files, which are written to disk as they come; 0: as others."""
        self.app = app
        self.max_streamed_bytes = max_streamed_bytes
        self.max_bytes = max_bytes
        self.max_all_bytes = max_all_bytes
        self.timeout_s = timeout_s
        self.held = 0
        """Bytes of all bodies under way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_streamed = bool(self.max_streamed_bytes) and _is_file(scope)
        most = self.max_streamed_bytes if is_streamed else self.max_bytes
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > most:
            response = answer(Request(scope), Fault(413, "payload_too_large", too_large(most)))
            response.headers.update(_CLOSE)
            await response(scope, receive, send)
            return
        body = _Body(self, receive, send, most, is_streamed)
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            self.held -= body.held


def too_large(most: int) -> str:
    return f"A request body may hold at most {most} bytes."


def _is_file(scope: Scope) -> bool:
    """Whether a route may take the body as a file: no other has a PUT."""
    return bool(scope["method"] == "PUT")


@dataclass
class _Body:
    """One body while it is received, and whether its answer has begun."""

    limit: BodyLimit
    receive_next: Receive
    send_next: Send
    most: int
    is_streamed: bool
    """Whether parts of it are let go of before the next comes."""
    received: int = 0
    held: int = 0
    waited_s: float = 0.0
    whole: bool = False
    answered: bool = False

    async def send(self, message: Message) -> None:
        self.answered = True
        await self.send_next(message)

    async def receive(self) -> Message:
        """The next part of the body; after its end, whatever comes. Raises HTTPException."""
        if self.whole:
            return await self.receive_next()
        message = await self._next_in_time()
        size = len(message.get("body", b""))
        self.received += size
        if not self.is_streamed:
            self.held += size
            self.limit.held += size
        self.whole = not message.get("more_body", False)
        if self.received > self.most:
            raise HTTPException(413, too_large(self.most), _CLOSE)
        if self.limit.held > self.limit.max_all_bytes:
            raise BusyError("Too many large bodies are being received; send it again soon.")
        return message

    async def _next_in_time(self) -> Message:
        began = time.monotonic()
        allowed_s = self.limit.timeout_s + self.received / BYTES_PER_S - self.waited_s
        try:
            async with asyncio.timeout(allowed_s):
                return await self.receive_next()
        except TimeoutError:
            if self.answered:
                return {"type": "http.disconnect"}
            raise HTTPException(408, "The body comes too slowly.", _CLOSE) from None
        finally:
            self.waited_s += time.monotonic() - began


class RequestContext:
    """Gives each request an id and a log line, each answer its safe headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = request_id = _request_id(scope)
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                for name, value in safe_headers(request_id).items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", _UNSHARED)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_headers)
            seconds = round(time.perf_counter() - started, 4)
            log.debug("request", **_route(scope), status=status, duration_s=seconds)


class LastHandler:
    """Turns what nobody caught into a 500 without details."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except ClientDisconnect:
            log.debug("client left")
        except Exception as error:
            response = answer(Request(scope), fault_of(error))
            if not begun:
                await response(scope, receive, send)


def safe_headers(request_id: str) -> dict[str, str]:
    """What every answer carries. uvicorn's `Date` is of the request: an answer that was waited for
    would be older than what it tells of."""
    return {
        "Date": formatdate(usegmt=True),
        "X-Request-Id": request_id,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def new_request_id() -> str:
    return f"req_{uuid7().hex}"


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def _route(scope: Scope) -> dict[str, str]:
    """Method and route; never the path itself, in which a client can write anything."""
    return {"method": scope["method"], "route": getattr(scope.get("route"), "path", "none")}
