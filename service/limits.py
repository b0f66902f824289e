"""What stands before every route: a limit on bodies, a request id, the last handler.

Plain ASGI, in the service only. Starlette's own body limit is not used: where a length is
declared it answers in plain text, and clients are promised problem documents.
"""

import re
import time

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from darkroom import logs
from service.errors import Fault, answer, fault_of

log = logs.get("service")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class BodyLimit:
    """Refuses bodies over `max_bytes`: at once where the length is declared, else while receiving.

    Reading stops there, so a body of any size costs no memory."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > self.max_bytes:
            response = answer(Request(scope), Fault(413, "payload_too_large", self._sentence()))
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        await self.app(scope, self._count_bytes(receive), send)

    def _count_bytes(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, self._sentence(), {"Connection": "close"})
            return message

        return counted

    def _sentence(self) -> str:
        return f"A request body may hold at most {self.max_bytes} bytes."


class RequestContext:
    """Gives each request an id and a log line, each answer its safe headers, and turns what
    nobody caught into a 500 without details."""

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
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_headers)
            except ClientDisconnect:
                log.debug("client left")
            except Exception as error:
                response = answer(Request(scope), fault_of(error))
                if status == 0:
                    await response(scope, receive, send_with_headers)
            seconds = round(time.perf_counter() - started, 4)
            log.debug("request", **_route(scope), status=status, duration_s=seconds)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{uuid7().hex}"


def _route(scope: Scope) -> dict[str, str]:
    """Method and route; never the path itself, in which a client can write anything."""
    return {"method": scope["method"], "route": getattr(scope.get("route"), "path", "none")}
