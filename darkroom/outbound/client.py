"""Asks URLs that clients named; used by whoever does, on an event loop.

Nothing but what stands here is sent: no cookies, no credentials, and no proxy of the environment is
asked. Each request has a connection of its own.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpcore2

from darkroom import __version__
from darkroom.outbound.network import JudgedNetwork, Resolve, addresses_of
from darkroom.outbound.policy import OutboundError, Policy, Target

USER_AGENT = f"Darkroom/{__version__}"
MOST_REDIRECTS = 3
CONNECT_S = 5.0
"""Seconds for each address of a host."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FAULTS = (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError)


@dataclass(frozen=True)
class Answer:
    """What came of a request whose answer has no body that anybody reads."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""


@dataclass(frozen=True)
class Outbound:
    """Asks what `policy` allows, each time within so many seconds in all."""

    policy: Policy
    resolve: Resolve = addresses_of
    trust: ssl.SSLContext = field(default_factory=httpcore2.default_ssl_context)
    """Whose certificates count; those of this system."""

    async def get(self, url: str, *, accept: str, max_bytes: int, timeout_s: float) -> bytes:
        """What lies at a URL, which may lead on to another three times. Raises OutboundError."""
        async with _within(timeout_s):
            target = self.policy.target(url)
            for _ in range(MOST_REDIRECTS + 1):
                headers = {"Accept": accept, "Accept-Encoding": "identity"}
                async with self._asked("GET", target, headers) as answer:
                    if answer.status not in _REDIRECTS:
                        return await _body(answer, max_bytes)
                    location = _headers(answer).get("location", "")
                target = self.policy.target(target.joined(location))
            raise OutboundError(f"It leads on more than {MOST_REDIRECTS} times.")

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> Answer:
        """Send a body, and read nothing but the head of the answer; redirects are not followed.
        Raises OutboundError."""
        async with _within(timeout_s):
            target = self.policy.target(url)
            async with self._asked("POST", target, headers, body) as answer:
                return Answer(answer.status, _headers(answer))

    @asynccontextmanager
    async def _asked(
        self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[httpcore2.Response]:
        network = JudgedNetwork(self.policy, target, self.resolve)
        url = httpcore2.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        sent = {"Host": target.authority, "User-Agent": USER_AGENT, "Connection": "close"}
        sent |= headers
        if body is not None:
            sent["Content-Length"] = str(len(body))
        limits = {"timeout": {"connect": CONNECT_S}}
        try:
            async with (
                httpcore2.AsyncConnectionPool(self.trust, network_backend=network) as pool,
                pool.stream(
                    method, url, headers=list(sent.items()), content=body, extensions=limits
                ) as answer,
            ):
                yield answer
        except _FAULTS as error:
            raise OutboundError(_reason(error)) from error


@asynccontextmanager
async def _within(timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise OutboundError(f"It took longer than {timeout_s:g} seconds.") from error


async def _body(answer: httpcore2.Response, max_bytes: int) -> bytes:
    if answer.status != 200:
        raise OutboundError(f"Its server answered {answer.status}.")
    headers = _headers(answer)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise OutboundError("Its server compressed it, though asked not to.")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    parts, size = [], 0
    async for part in answer.aiter_stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(max_bytes: int) -> OutboundError:
    return OutboundError(f"It has more than {max_bytes / 2**20:g} MiB.")


def _headers(answer: httpcore2.Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers
    }


def _reason(error: Exception) -> str:
    causes = (error.__cause__, error.__context__)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "The certificate of its server is not valid here."
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "Its server speaks no TLS that is understood here."
    if isinstance(error, httpcore2.ProtocolError):
        return "Its server speaks no HTTP that is understood here."
    return "Its server cannot be reached."
