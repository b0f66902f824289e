"""Removing all that is one's own: how much at once, and what becomes of the rest."""

import asyncio

import pytest

from darkroom.images import ImageStore
from darkroom.queue import erasure
from darkroom.queue.connection import connect_async
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.queue import Queue
from service import own_data
from service.own_data import Erased, erase


@pytest.fixture
def run(valkey, tmp_path):
    async def once(owner: str) -> Erased:
        async with connect_async(valkey.url) as redis:
            client = AsyncClient(redis, scripts(PLAIN_RULES))
            return await erase(client, ImageStore(tmp_path), owner)

    return lambda owner: asyncio.run(once(owner))


def test_what_is_too_much_for_once_is_left_to_the_keeper(run, redis, monkeypatch):
    monkeypatch.setattr(own_data, "MOST_STEPS", 1)
    queue = Queue(redis)
    for _ in range(101):
        queue.submit({}, model="pix", owner="ann")
    assert run("ann") == Erased(status="erasing", jobs=100, images=0, files=0)
    assert len(queue.carry_out(erasure.noted())) == 1
    assert run("ann") == Erased(status="erased", jobs=1, images=0, files=0)
    assert queue.carry_out(erasure.noted()) == []
