"""Exchanges: what a thread and an event loop get is the same."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.errors import JobNotFoundError, QueueUnavailableError
from darkroom.job import JobStatus
from darkroom.queue import jobs, listing
from darkroom.queue.connection import connect_async
from darkroom.queue.exchange import AsyncClient, Send
from darkroom.queue.lua import Rules, scripts
from darkroom.queue.queue import Queue

SCRIPTS = scripts(Rules(retention_s=60))


def run(url: str, test: Callable[[AsyncClient], Awaitable[None]], **pool: int) -> None:
    async def connected() -> None:
        async with asyncio.timeout(20), connect_async(url, **pool) as redis:
            await test(AsyncClient(redis, SCRIPTS))

    asyncio.run(connected())


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis, Rules(retention_s=60))


def test_a_loop_asks_and_reads_as_a_thread_does(valkey: RedisServer, queue: Queue) -> None:
    async def test(client: AsyncClient) -> None:
        accepted = await client.carry_out(jobs.submit({"prompt": "a cat"}, model="pix"))
        job_id = accepted.job.id
        assert queue.fetch(job_id) == await client.carry_out(jobs.fetch(job_id)) == accepted.job
        assert queue.page() == await client.carry_out(listing.page())
        (state,) = await client.carry_out(jobs.queues())
        assert (state.name, state.queued, state.running) == ("pix.normal", 1, 0)
        assert queue.counters() == await client.carry_out(jobs.counters())
        assert (await client.carry_out(jobs.cancel(job_id))).status is JobStatus.CANCELED
        assert await client.carry_out(jobs.delete(job_id)) == []
        with pytest.raises(JobNotFoundError):
            await client.carry_out(jobs.fetch(job_id))

    run(valkey.url, test)


def test_several_commands_go_together(valkey: RedisServer, queue: Queue) -> None:
    question = Send((("SET", "a", 1), ("GET", "a"), ("GET", "b")))

    def ask():
        return (yield question)

    async def test(client: AsyncClient) -> None:
        assert await client.carry_out(ask()) == queue.carry_out(ask()) == [True, b"1", None]

    run(valkey.url, test)


def test_an_absent_redis_is_said_so(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        for exchange in (jobs.fetch("job_1"), jobs.submit({}, model="m"), jobs.check()):
            with pytest.raises(QueueUnavailableError):
                await client.carry_out(exchange)

    run(f"unix://{tmp_path}/nothing", test)
