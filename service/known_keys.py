"""The keys of the API as a service knows them, each read now and then; on its event loop, knows no
HTTP."""

from darkroom.api_keys import ApiKey, Limits, Token, fits
from darkroom.errors import QueueUnavailableError, UnauthenticatedError
from darkroom.queue import api_keys
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.request_rates import Rate, take_request
from darkroom.queue.shared_read import SharedRead
from darkroom.queue.use import Use, use

READ_EVERY_S = 1.0
"""How old may be what is known of a key."""
MOST_KNOWN = 1024
"""Keys that are known at a time."""


class Keys:
    """The keys in Redis, each read at most once in `READ_EVERY_S`. What is no key is not
    remembered: guessing takes no memory."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._known: dict[str, SharedRead[ApiKey | None]] = {}

    async def whose(self, token: Token) -> ApiKey:
        """Raises UnauthenticatedError, QueueUnavailableError."""
        was_known = token.id in self._known
        key = await self._read(token.id)
        if was_known and not fits(token, key):  # it may have a new secret since
            self._known.pop(token.id, None)
            key = await self._read(token.id)
        if not fits(token, key) or key is None:
            raise refused()
        if key.left_s() <= 0:
            raise UnauthenticatedError("This API key has expired.")
        return key

    async def known(self, key_id: str) -> ApiKey | None:
        """The key with this id, also one that has expired; None: there is none. Raises
        QueueUnavailableError."""
        return await self._read(key_id)

    async def take_request(self, key_id: str, limits: Limits) -> Rate | None:
        """Take one of the requests that a key may make in a minute; None: as many as it likes.
        Raises QueueUnavailableError."""
        if limits.per_minute is None:
            return None
        return await self._client.carry_out(take_request(key_id, limits.per_minute))

    async def use(self, key_id: str) -> Use:
        """What a key uses of what it may. Raises QueueUnavailableError."""
        return await self._client.carry_out(use(key_id))

    def forget(self) -> None:
        """Read all anew: some key was changed."""
        self._known.clear()

    async def _read(self, key_id: str) -> ApiKey | None:
        # Last is who was asked for last: the first one goes when there are too many.
        reading = self._known.pop(key_id, None) or SharedRead(
            lambda: self._client.carry_out(api_keys.get(key_id)), lasts_s=READ_EVERY_S
        )
        self._known[key_id] = reading
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        try:
            key = await reading.value()
        except QueueUnavailableError:
            self._known.pop(key_id, None)
            raise
        if key is None and self._known.get(key_id) is reading:
            del self._known[key_id]
        return key


def refused() -> UnauthenticatedError:
    """In the same words whatever is wrong with a key."""
    return UnauthenticatedError("This is no API key that is valid here.")
