"""Keys as a service knows them; tests/service/test_auth.py has what comes of it."""

import asyncio

from darkroom.queue.connection import connect_async
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.lua import PLAIN_RULES, scripts
from service.known_keys import Keys


def test_a_key_is_known_by_its_id_and_forgotten_when_it_is_gone(made, valkey, redis):
    token = made("ann")

    async def known() -> list[str | None]:
        async with connect_async(valkey.url) as client:
            keys, names = Keys(AsyncClient(client, scripts(PLAIN_RULES))), []
            for _ in range(2):
                key = await keys.known(token.id)
                names.append(key and key.name)
                redis.hdel("darkroom:keys", token.id)
                keys.forget()
            return [*names, await keys.known("0" * 16)]

    assert asyncio.run(known()) == ["ann", None, None]
