"""What a server says of itself, and how one that is away is told apart; against a real Valkey."""

from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.errors import QueueUnavailableError
from darkroom.ports import free_port
from darkroom.queue import server
from darkroom.queue.connection import connect
from darkroom.queue.workers import Workers


def test_facts_are_read_from_the_server(valkey: RedisServer) -> None:
    facts = server.read_facts(valkey.url)
    assert facts.server["redis_version"]
    assert facts.memory["maxmemory_policy"] == "noeviction"
    assert facts.persistence["aof_enabled"] == 1
    assert facts.appendfsync == "everysec"


def test_a_server_that_refuses_config_is_read_all_the_same(
    valkey: RedisServer, redis: Redis
) -> None:
    redis.execute_command("ACL", "SETUSER", "default", "-config")
    try:
        assert server.read_facts(valkey.url).appendfsync == "not shown"
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+config")


def test_of_a_server_that_is_away_it_is_said_once_that_this_is_an_error() -> None:
    url = f"redis://127.0.0.1:{free_port('127.0.0.1', 0)}"
    for ask in (server.require_answer, server.read_facts, server.try_writing):
        with pytest.raises(QueueUnavailableError, match=r"^connecting to 127\.0\.0\.1:.*refused"):
            ask(url)
    with connect(url) as redis, pytest.raises(QueueUnavailableError, match="reached: connecting"):
        Workers(redis).all()


def test_trying_to_write_leaves_nothing_and_tells_why_it_cannot(
    valkey: RedisServer, redis: Redis
) -> None:
    server.try_writing(valkey.url)
    assert redis.exists("darkroom:doctor") == 0
    redis.execute_command("ACL", "SETUSER", "default", "-set")
    try:
        with pytest.raises(QueueUnavailableError, match="no permissions"):
            server.try_writing(valkey.url)
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+set")


def test_a_server_answers_until_it_is_shut_down(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as own:
        assert server.answers(own.url)
        server.shut_down(own.url)
        assert not server.answers(own.url)
        with pytest.raises(QueueUnavailableError):
            server.read_facts(own.url)
