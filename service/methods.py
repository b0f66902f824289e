"""What HTTP wants of every path, whatever its route: HEAD, OPTIONS, all of `Allow`, no last slash.

Plain ASGI, in the service only; knows no job (RFC 9110, 9.3.2, 9.3.7 and 10.2.1).
"""

from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled
from fastapi import Response
from starlette.datastructures import MutableHeaders
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROUTED = ("DELETE", "GET", "PATCH", "POST", "PUT")


class Methods:
    """Answers HEAD as GET without its body, OPTIONS with the methods of the path, and completes
    `Allow`. Below `prefix` a slash at the end of a path means the same as none."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _drop_last_slash(scope, self.prefix)
        if scope["method"] == "OPTIONS" and (allowed := allowed_methods(scope)):
            response = Response(status_code=204, headers={"Allow": ", ".join(allowed)})
            await response(scope, receive, send)
        elif scope["method"] == "HEAD" and "HEAD" in allowed_methods(scope):
            await self._head(scope, receive, send)
        else:
            await self.app(scope, receive, _with_allow(scope, send))

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET until its head is known; nothing of its body is read or waited for. `Range` is for
        GET alone."""
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        got = {**scope, "method": "GET", "headers": headers}
        with CancelScope() as body:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    body.cancel()
                    await checkpoint_if_cancelled()

            await self.app(got, receive, send_head)
        scope.update(route=got.get("route"))  # for the log


def allowed_methods(scope: Scope) -> list[str]:
    """The methods that a path answers, by name; none where there is nothing."""
    routes = scope["app"].router.routes
    if scope["path"] == "*":  # of the server as a whole
        return sorted({*_ROUTED, "HEAD", "OPTIONS"})
    found = {
        method
        for method in _ROUTED
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    }
    also = {"HEAD", "OPTIONS"} if "GET" in found else {"OPTIONS"}
    return sorted(found | also) if found else []


def _drop_last_slash(scope: Scope, prefix: str) -> None:
    path = scope["path"]
    if path.startswith(prefix) and path.endswith("/"):
        scope["path"] = path[:-1]


def _with_allow(scope: Scope, send: Send) -> Send:
    async def complete(message: Message) -> None:
        if message.get("status") == 405:
            allowed = ", ".join(allowed_methods(scope))
            MutableHeaders(raw=message["headers"])["Allow"] = allowed
        await send(message)

    return complete
