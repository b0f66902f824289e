"""Connections to nothing but addresses that were judged; used by whoever asks URLs of clients.

A name is resolved once, all its addresses are judged, and one of these very addresses is connected
to: a name that answers otherwise the next time changes nothing. TLS goes by the name.
"""

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import httpcore2
from anyio import to_thread

from darkroom.outbound.addresses import Address
from darkroom.outbound.policy import NOWHERE, OutboundError, Policy, Target

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""All addresses of a host, best first. Raises OSError."""


async def addresses_of(host: str, port: int) -> Sequence[Address]:
    """As this machine resolves names. Raises OSError."""
    found = await to_thread.run_sync(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), abandon_on_cancel=True
    )
    return [ip_address(address[0]) for *_, address in found]


class JudgedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to the host of `target`, where `policy` allows what it leads to."""

    def __init__(self, policy: Policy, target: Target, resolve: Resolve) -> None:
        self._policy = policy
        self._target = target
        self._resolve = resolve
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises OutboundError, and what httpcore raises where nobody answers."""
        assert (host, port) == (self._target.host, self._target.port)
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise OutboundError(NOWHERE) from error
        self._policy.require(self._target, addresses)
        *others, last = addresses
        for address in others:
            try:
                return await self._connected(address, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._connected(last, timeout, local_address, socket_options)

    async def _connected(self, address: Address, *options: Any) -> httpcore2.AsyncNetworkStream:
        return await self._plain.connect_tcp(str(address), self._target.port, *options)
