"""What only a client for event loops can do; the rest test_client.py holds both to."""

import asyncio

import pytest

from darkroom import AsyncClient
from tests.scripted import Answer, Service, job


def test_nothing_of_it_blocks_the_loop() -> None:
    """Two wait at once: whoever waited alone would wait for the other's answer."""

    async def both(url: str) -> list[str]:
        async with AsyncClient(url) as client:
            jobs = await asyncio.gather(client.wait("job_1"), client.wait("job_2"))
        return [each.status for each in jobs]

    with Service(job("failed"), job("failed"), together=2) as service:
        assert asyncio.run(both(service.url)) == ["failed", "failed"]


def test_a_wait_can_be_canceled() -> None:
    async def give_up(url: str) -> None:
        async with AsyncClient(url) as client:
            waiting = asyncio.create_task(client.wait("job_1"))
            while not service.asked:
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await client.models()) == []

    with Service(job("failed"), Answer({"data": []}), together=2) as service:
        asyncio.run(give_up(service.url))
