"""Keys come back from Redis as they were kept, their names are their own, secrets are not there."""

import pytest
from redis import Redis

from darkroom.api_keys import new_key
from darkroom.queue.api_keys import all_keys, get, put, remove
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts


@pytest.fixture
def client(redis: Redis) -> Client:
    return Client(redis, scripts(PLAIN_RULES))


def test_keys_come_back_as_they_were_kept(client: Client, redis: Redis) -> None:
    key, _ = new_key("web")
    other, _ = new_key("\N{SNOWMAN} 'quoted'", ("admin",))
    assert client.carry_out(put(key))
    assert client.carry_out(put(other))
    redis.hset("darkroom:keys", "0" * 16, "no record")
    assert client.carry_out(get(key.id)) == key
    assert client.carry_out(get("0" * 16)) is None
    assert client.carry_out(get("1" * 16)) is None
    assert client.carry_out(all_keys()) == [key, other]
    assert client.carry_out(remove(key.id))
    assert not client.carry_out(remove(key.id))
    assert client.carry_out(all_keys()) == [other]


def test_names_are_each_keys_own(client: Client) -> None:
    key, _ = new_key("web")
    assert client.carry_out(put(key))
    assert not client.carry_out(put(new_key("web")[0]))
    renewed, _ = key.renewed()
    assert not client.carry_out(put(renewed))
    assert client.carry_out(put(renewed, instead_of=key))
    assert client.carry_out(all_keys()) == [renewed]
    # Neither a secret that was replaced meanwhile comes back nor a key that was revoked.
    assert not client.carry_out(put(key, instead_of=key))
    client.carry_out(remove(key.id))
    assert not client.carry_out(put(renewed, instead_of=renewed))
    assert client.carry_out(all_keys()) == []


def test_a3_nothing_but_hashes_is_kept(client: Client, redis: Redis) -> None:
    key, token = new_key("web")
    client.carry_out(put(key))
    kept = b"".join(redis.dump(name) or b"" for name in redis.scan_iter())
    assert redis.keys() == [b"darkroom:keys"]
    assert token.secret.encode() not in kept + b"".join(redis.hvals("darkroom:keys"))
    assert token.digest.encode() in b"".join(redis.hvals("darkroom:keys"))


def test_services_are_told_of_each_change(client: Client, redis: Redis) -> None:
    key, _ = new_key("web")
    with redis.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe("darkroom:events")
        while not heard.subscribed or heard.get_message(timeout=5) is not None:
            pass
        client.carry_out(put(key))
        client.carry_out(put(key.renewed()[0], instead_of=key))
        client.carry_out(remove(key.id))
        told = [(heard.get_message(timeout=5) or {}).get("data") for _ in range(3)]
    assert told == [b"keys changed"] * 3
