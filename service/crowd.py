"""How many clients are here at once, in all and of one address; in the service only."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from darkroom.errors import BusyError, TooManyAtOnceError
from darkroom.settings import Settings, SettingsError

Network = IPv4Network | IPv6Network

LONGEST_NAME = 64


def trusted(settings: Settings) -> list[Network]:
    """Where proxies are whose word on their clients counts. Raises SettingsError."""
    parts = [part.strip() for part in settings.trusted_proxies.split(",")]
    try:
        return [ip_network(part) for part in parts if part]
    except ValueError as error:
        raise SettingsError(f"DARKROOM_TRUSTED_PROXIES: {error}.") from error


class Crowd:
    """Counts those who are here and refuses more than `most`, or `most_each` of one address or of
    whoever goes by a name. This machine and the networks of `exempt` are bound by `most` alone;
    `what` names what is counted."""

    def __init__(
        self, what: str, most: int, most_each: int, exempt: Collection[Network] = ()
    ) -> None:
        self.size = 0
        self.most = most
        self._what = what
        self._most_each = most_each
        self._exempt = exempt
        self._by_address: Counter[str] = Counter()

    def enter(self, host: str | None) -> None:
        """One more, of the address or the name `host`. Raises BusyError, TooManyAtOnceError."""
        if self.size >= self.most:
            raise BusyError(f"{self.most} {self._what} are open, no more may be: try again soon.")
        address = self._whose(host)
        if address and self._by_address[address] >= self._most_each:
            raise TooManyAtOnceError(
                f"You have {self._most_each} {self._what} open: close some first."
            )
        self.size += 1
        if address:
            self._by_address[address] += 1

    def leave(self, host: str | None) -> None:
        """One of those who entered from `host` goes."""
        self.size -= 1
        if address := self._whose(host):
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    @contextmanager
    def place(self, host: str | None) -> Iterator[None]:
        """Enter, and leave at the end of the context. Raises as `enter` does."""
        self.enter(host)
        try:
            yield
        finally:
            self.leave(host)

    def _whose(self, host: str | None) -> str | None:
        """What counts as one client; None for those who are not counted."""
        if not host:  # a unix socket
            return None
        try:
            address = ip_address(host)
        except ValueError:  # a key, or what a trusted proxy calls its client
            return host[:LONGEST_NAME]
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if address.is_loopback or any(address in network for network in self._exempt):
            return None
        if isinstance(address, IPv6Address):  # whoever has one address of a /64 has all of it
            return str(ip_network((int(address) >> 64 << 64, 64)))
        return str(address)
