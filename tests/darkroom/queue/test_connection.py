"""The connections of an event loop: bounded, waited for, one repeat; threads: test_queue.py."""

import asyncio
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.errors import QueueUnavailableError
from darkroom.queue import connection, exchange, jobs
from darkroom.queue.connection import POOL_SIZE
from darkroom.queue.exchange import AsyncClient, send
from tests.darkroom.queue.test_exchange import run
from tests.darkroom.queue.test_lost_replies import LossyWire


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
    monkeypatch.setattr(connection, "POOL_TIMEOUT_S", 0.05)

    async def test(client: AsyncClient) -> None:
        blocking = asyncio.create_task(client.carry_out(send("BLPOP", "bell", 4)))
        while not redis.info("clients")["blocked_clients"]:
            await asyncio.sleep(0)
        with pytest.raises(QueueUnavailableError, match="stay in use"):
            await client.carry_out(send("PING"))
        redis.lpush("bell", "ring")
        assert tuple(await blocking) == (b"bell", b"ring")
        assert await client.carry_out(send("PING"))

    run(valkey.url, test, size=1)


def test_a_redis_that_hangs_is_away(
    valkey: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before each of its timeouts has passed."""
    monkeypatch.setattr(exchange, "SILENT_S", 0.3)

    async def test(client: AsyncClient) -> None:
        assert await client.carry_out(send("PING"))
        redis.client_pause(2000)
        for _ in range(2):
            with pytest.raises(QueueUnavailableError, match="does not answer"):
                await client.carry_out(send("GET", "x"))
        monkeypatch.undo()
        assert await client.carry_out(send("SET", "x", "1"))

    run(valkey.url, test)


def test_one_that_answers_others_is_only_busy(
    valkey: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "SILENT_S", 2)

    def blocked() -> set[str]:
        return {each["id"] for each in redis.client_list() if each["cmd"] == "blpop"}

    async def test(client: AsyncClient) -> None:
        late = asyncio.create_task(client.carry_out(send("BLPOP", "bell", 4)))
        while not (first := blocked()):
            await client.carry_out(send("PING"))
        while not blocked() - first:  # until it is asked again, on another connection
            await client.carry_out(send("PING"))
        redis.lpush("bell", "ring")
        assert await late

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


def test_bugs_are_not_taken_for_an_absent_redis(valkey: RedisServer, redis: Redis) -> None:
    redis.set("text", "x")

    async def test(client: AsyncClient) -> None:
        with pytest.raises(Exception, match="WRONGTYPE"):
            await client.carry_out(send("LPUSH", "text", "y"))

    run(valkey.url, test)
