"""What clients may let Darkroom ask: the form of a URL, its host, and the address that it leads to;
used by all processes, asks nobody.

A name is no proof of anything: what it leads to is judged by `require`, of the very addresses that
are then connected to (`network.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Self

import httpx2

from darkroom.errors import DarkroomError
from darkroom.outbound.addresses import Address, Network, is_public, parsed
from darkroom.settings import Settings, SettingsError

LONGEST_URL = 2048
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_LONGEST_NAME = 253
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*", re.ASCII)
"""What no name ends in: systems take such hosts for addresses in forms of their own, `127.1`."""
PORTS = {"https": 443, "http": 80}

NOWHERE = "Its host has no address that may be asked."
"""The same words for a name that does not exist and for what is too near: who asks learns nothing
of the network here."""


class OutboundError(DarkroomError):
    """A URL that may not be asked, or gave nothing; the sentence is for whoever named it."""

    code = "outbound"


@dataclass(frozen=True)
class Target:
    """What a URL names."""

    scheme: str
    """`http` or `https`."""
    host: str
    """A name, or an address without brackets; lower case, ASCII."""
    port: int
    path: str
    """With the query, escaped; the fragment is left out."""

    @property
    def authority(self) -> str:
        """Host and port, as the header `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def joined(self, location: str) -> str:
        """The URL that a redirect from here leads to. Raises OutboundError."""
        try:
            return str(httpx2.URL(f"{self.scheme}://{self.authority}{self.path}").join(location))
        except httpx2.InvalidURL as error:
            raise OutboundError("It leads to what is no URL.") from error


@dataclass(frozen=True)
class Policy:
    """What the operator allows."""

    networks: tuple[Network, ...] = ()
    """Beside the public internet; any port there, and plain http."""
    hosts: tuple[str, ...] = ()
    """Hosts that may be named, `*.example` for all below; empty: any."""
    http: bool = False
    """Plain http in the public internet too."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises SettingsError."""
        try:
            networks = tuple(ip_network(each) for each in _parts(settings.outbound_networks))
        except ValueError as error:
            raise SettingsError(f"DARKROOM_OUTBOUND_NETWORKS: {error}.") from error
        hosts = tuple(each.lower() for each in _parts(settings.outbound_hosts))
        return cls(networks, hosts, settings.outbound_http)

    def target(self, url: str) -> Target:
        """What a URL names, if its form allows that it is asked; nobody is. Raises
        OutboundError."""
        target = _read(url)
        if self.hosts and not any(_fits(target.host, each) for each in self.hosts):
            raise OutboundError("Its host is none of those that the operator allows.")
        address = parsed(target.host)
        if address:
            self.require(target, [address])
        elif not self.networks:
            self._require_plain(target)
        return target

    def require(self, target: Target, addresses: Sequence[Address]) -> None:
        """Raises OutboundError unless each address that the host of `target` has may be asked."""
        for address in addresses:
            if not any(address in network for network in self.networks):
                if not is_public(address):
                    raise OutboundError(NOWHERE)
                self._require_plain(target)
        if not addresses:
            raise OutboundError(NOWHERE)

    def _require_plain(self, target: Target) -> None:
        if target.scheme == "http" and not self.http:
            raise OutboundError("Must be https.")
        if target.port != PORTS[target.scheme]:
            raise OutboundError(f"Must be on port {PORTS[target.scheme]}.")


def _read(url: str) -> Target:
    if len(url) > LONGEST_URL:
        raise OutboundError(f"May have at most {LONGEST_URL} characters.")
    try:
        read = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise OutboundError("Is no URL that can be read.") from error
    if read.scheme not in PORTS or not read.raw_host:
        raise OutboundError("Must be an absolute URL, https://HOST/PATH.")
    if read.userinfo:
        raise OutboundError("May hold no user and no password.")
    host, port = read.raw_host.decode("ascii"), read.port
    if not parsed(host) and not _is_name(host):
        raise OutboundError("Its host is neither a name nor an address.")
    port = PORTS[read.scheme] if port is None else port
    if not 1 <= port <= 65535:
        raise OutboundError("Its port is none.")
    return Target(read.scheme, host.lower(), port, read.raw_path.decode("ascii"))


def _is_name(host: str) -> bool:
    if len(host) > _LONGEST_NAME or not _NAME.fullmatch(host):
        return False
    return not _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2])


def _fits(host: str, allowed: str) -> bool:
    host = host.removesuffix(".")
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
