"""Whom browsers may let in: names of this service, and pages of other sites (CORS).

Plain ASGI, in the service only; knows no route. A page of any site can make a browser send
requests to this machine, and by DNS rebinding even under a name of its own: so the name that was
asked for is checked, and what changes something is refused to pages of other sites.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkroom import logs
from darkroom.ports import is_address, is_loopback
from darkroom.settings import Settings, SettingsError
from service.errors import Fault, answer

log = logs.get("origins")

EXPOSED = (
    "Allow",
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Darkroom-Job-Id",
    "X-Request-Id",
    "X-Should-Retry",
)
"""Headers of answers that pages of other sites may read, beside those they always may."""

_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{0,5})?", re.ASCII)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.ASCII)


class Gate:
    """Refuses names that are not of this service (421), and to pages of other sites whatever
    changes something (403)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._is_ours = names(settings)
        self._let_in = origins(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(scope) if scope["type"] == "http" else None
        if fault is None:
            await self.app(scope, receive, send)
        else:
            log.warning("refused", code=fault.code)
            response = answer(Request(scope), fault)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)

    def _fault(self, scope: Scope) -> Fault | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if "host" in headers and not self._is_ours(host.lower()):  # HTTP/1.0 does without
            return Fault(421, "misdirected_request", _not_ours(host.lower()))
        if scope["method"] not in _SAFE and self._is_of_another_site(headers, host.lower()):
            return Fault(
                403,
                "cross_site",
                "Pages of other sites may not change anything here; DARKROOM_CORS_ORIGINS names "
                "those that may.",
            )
        return None

    def _is_of_another_site(self, headers: Headers, host: str) -> bool:
        """What browsers say themselves is believed first: behind a proxy the names may differ."""
        origin = headers.get("origin")
        if "*" in self._let_in or (origin or "") in self._let_in:
            return False
        if site := headers.get("sec-fetch-site"):
            return site not in ("same-origin", "none")
        return origin is not None and urlsplit(origin.lower()).netloc != host


class Cors(CORSMiddleware):
    """Starlette's, for the origins of the settings, without credentials. Its refusals are problem
    documents, and what it opens may be embedded; pictures wherever it opens anything, since `<img>`
    names no origin."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app,
            allow_origins=origins(settings),
            allow_methods=("*",),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=EXPOSED,
        )

    async def send(self, message: Message, send: Send, request_headers: Headers) -> None:
        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                is_picture = headers.get("content-type", "").startswith("image/")
                if is_picture or "access-control-allow-origin" in headers:
                    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            await send(message)

        await super().send(message, send_open, request_headers)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        sentence = f"{bytes(response.body).decode()}: see DARKROOM_CORS_ORIGINS."
        refused = answer(
            Request({"type": "http", "headers": []}), Fault(403, "cross_site", sentence)
        )
        refused.headers["Vary"] = response.headers["Vary"]
        return refused


def origins(settings: Settings) -> frozenset[str]:
    """The origins of other sites' pages that are let in; `*` stands for all.

    Raises SettingsError."""
    found = {part.strip().lower().removesuffix("/") for part in settings.cors_origins.split(",")}
    for origin in found - {"", "*"}:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"DARKROOM_CORS_ORIGINS: {origin!r} is no origin; write it as browsers do, like "
                "http://localhost:3000 or https://app.example."
            )
    return frozenset({"*"} if "*" in found else found - {""})


def names(settings: Settings) -> Callable[[str], bool]:
    """Whether a Host, in small letters, is of this service. This machine's own names always are.
    Elsewhere than on loopback any address is too, which cannot be rebound, and where
    `allowed_hosts` is empty any name. Raises SettingsError."""
    allowed = {part.strip().lower() for part in settings.allowed_hosts.split(",")} - {""}
    for name in allowed - {"*"}:
        if not _HOST.fullmatch(name.removeprefix("*")) or name.partition(":")[2]:
            raise SettingsError(
                f"DARKROOM_ALLOWED_HOSTS: {name!r} is no host name; write names without scheme and "
                "port, like darkroom.example, or *.example for all below."
            )
    here = is_loopback(settings.host)

    def is_ours(host: str) -> bool:
        if not (found := _HOST.fullmatch(host)):
            return False
        name = found[1].removesuffix(".")
        if is_loopback(name) or "*" in allowed or name in allowed:
            return True
        if any(name.endswith(each.removeprefix("*")) for each in allowed if each[0] == "*"):
            return True
        return not here and (not allowed or is_address(name))

    return is_ours


def _not_ours(host: str) -> str:
    name = host[:100] if _HOST.fullmatch(host[:100]) else "so named"
    return (
        f"No host {name} is served here: use the name of this machine, or add the one you use to "
        "DARKROOM_ALLOWED_HOSTS."
    )
