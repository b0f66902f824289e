"""Pictures that clients name by their URL, fetched where the operator allows it; on the event loop
of the service, decodes nothing."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from darkroom.errors import BusyError, InvalidImageError
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import OutboundError, Policy
from darkroom.settings import Settings

MOST_AT_ONCE = 8
"""Pictures that are being fetched, or were and are being decoded: their bytes are in memory."""
WAIT_S = 10.0
"""How long one may wait for its turn."""
FETCH_S = 15.0
"""How long the server of one has, redirects and all."""

_URL = re.compile(r"https?://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether it names a picture by an address that might be asked."""
    return _URL.match(text) is not None


class Places:
    """So many places, of which no owner can have all: who has some gets another only while more
    are free than they have. So one alone gets half of them, and of eight it takes four owners to
    have them all. To be used from one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._changed = asyncio.Event()

    async def enter(self, owner: str) -> None:
        """Wait for one. Without an owner, where no keys are asked for, all may be had."""
        while not self._may(owner):
            await self._changed.wait()
        self._taken[owner] += 1

    def leave(self, owner: str) -> None:
        self._taken[owner] -= 1
        if not self._taken[owner]:
            del self._taken[owner]
        self._changed.set()
        self._changed = asyncio.Event()

    def _may(self, owner: str) -> bool:
        free = self._most - self._taken.total()
        return free > (self._taken[owner] if owner else 0)


@dataclass(frozen=True)
class Fetcher:
    """Fetches pictures, a few at once. To be used from one event loop."""

    outbound: Outbound
    max_bytes: int
    wait_s: float = WAIT_S
    fetch_s: float = FETCH_S
    places: Places = field(default_factory=lambda: Places(MOST_AT_ONCE))

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where nothing is fetched. Raises SettingsError."""
        policy = Policy.of(settings)
        if not settings.image_urls:
            return None
        return cls(Outbound(policy), int(settings.max_body_mb * 2**20))

    @asynccontextmanager
    async def fetched(self, url: str, owner: str) -> AsyncIterator[bytes]:
        """What lies at a URL that the key `owner` named; empty: no keys are asked for. Its place is
        another's once the context ends. Raises InvalidImageError, BusyError."""
        try:
            async with asyncio.timeout(self.wait_s):
                await self.places.enter(owner)
        except TimeoutError:
            raise BusyError("Too many pictures are being fetched now; try again soon.") from None
        try:
            yield await self._get(url)
        finally:
            self.places.leave(owner)

    async def _get(self, url: str) -> bytes:
        try:
            return await self.outbound.get(
                url,
                accept="image/png, image/jpeg, image/webp",
                max_bytes=self.max_bytes,
                timeout_s=self.fetch_s,
            )
        except OutboundError as error:
            raise InvalidImageError(f"Nothing can be fetched from this URL. {error}") from error
