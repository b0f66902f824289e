"""Exchanges: what a thread and an event loop get is the same; a loop's connections are bounded."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.errors import JobNotFoundError, QueueUnavailableError
from darkroom.job import JobStatus
from darkroom.queue import connection, jobs
from darkroom.queue.connection import POOL_SIZE, connect_async
from darkroom.queue.exchange import AsyncClient, Send, send
from darkroom.queue.lua import scripts
from darkroom.queue.queue import Queue
from tests.darkroom.queue.test_lost_replies import LossyWire

SCRIPTS = scripts(lease_s=15, max_attempts=5, retention_s=60, max_queued=1000)


def run(url: str, test: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async def connected() -> None:
        async with asyncio.timeout(20), connect_async(url) as redis:
            await test(AsyncClient(redis, SCRIPTS))

    asyncio.run(connected())


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis, retention_s=60)


def test_a_loop_asks_and_reads_as_a_thread_does(valkey: RedisServer, queue: Queue) -> None:
    async def test(client: AsyncClient) -> None:
        accepted = await client.carry_out(jobs.submit({"prompt": "a cat"}, model="pix"))
        job_id = accepted.job.id
        assert queue.fetch(job_id) == await client.carry_out(jobs.fetch(job_id)) == accepted.job
        assert queue.page() == await client.carry_out(jobs.page())
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


def test_more_ask_at_once_than_there_are_connections(valkey: RedisServer, redis: Redis) -> None:
    before = redis.info("clients")["connected_clients"]

    async def test(client: AsyncClient) -> None:
        asked = [client.carry_out(send("INCR", "asked")) for _ in range(POOL_SIZE * 10)]
        assert sorted(await asyncio.gather(*asked)) == list(range(1, POOL_SIZE * 10 + 1))
        assert redis.info("clients")["connected_clients"] - before <= POOL_SIZE

    run(valkey.url, test)


def test_who_waits_too_long_for_a_connection_is_told(
    valkey: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POOL_SIZE", 1)
    monkeypatch.setattr(connection, "POOL_TIMEOUT_S", 0.05)

    async def test(client: AsyncClient) -> None:
        blocking = asyncio.create_task(client.carry_out(send("BLPOP", "bell", 4)))
        while not redis.info("clients")["blocked_clients"]:
            await asyncio.sleep(0)
        with pytest.raises(QueueUnavailableError):
            await client.carry_out(send("PING"))
        redis.lpush("bell", "ring")
        assert tuple(await blocking) == (b"bell", b"ring")
        assert await client.carry_out(send("PING"))

    run(valkey.url, test)


def test_a_command_whose_reply_is_lost_is_sent_once_more(
    valkey: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    wire = LossyWire(tmp_path / "wire", valkey.dir / "socket")

    async def test(client: AsyncClient) -> None:
        await client.carry_out(jobs.submit({}, model="m"))  # the script is known from now on
        redis.flushdb()
        wire.lose_next = True
        job = (await client.carry_out(jobs.submit({}, model="m", owner="ann", max_active=1))).job
        assert wire.lost == 1
        assert redis.lrange("rq:queue:m.normal", 0, -1) == [job.id.encode()]

    run(wire.url, test)
    wire.close()


def test_an_absent_redis_is_said_so(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        for exchange in (jobs.fetch("job_1"), jobs.submit({}, model="m"), jobs.check()):
            with pytest.raises(QueueUnavailableError):
                await client.carry_out(exchange)

    run(f"unix://{tmp_path}/nothing", test)


def test_bugs_are_not_taken_for_an_absent_redis(valkey: RedisServer, redis: Redis) -> None:
    redis.set("text", "x")

    async def test(client: AsyncClient) -> None:
        with pytest.raises(Exception, match="WRONGTYPE"):
            await client.carry_out(send("LPUSH", "text", "y"))

    run(valkey.url, test)
