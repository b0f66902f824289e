"""Messages reach a real server: signed, at least once, and no receiver holds up another."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from threading import Event, Thread
from urllib.parse import parse_qsl, urlsplit

import httpcore2
import pytest
from redis import Redis
from replicate.webhook import Webhooks, WebhookSigningSecret
from standardwebhooks import Webhook as Receiver

from darkroom.api_keys import USUAL_SCOPES, new_key
from darkroom.command.valkey import RedisServer
from darkroom.errors import QueueUnavailableError
from darkroom.messenger import Messenger
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from darkroom.queue.api_keys import put
from darkroom.queue.connection import connect_async
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.outbox import failed_messages, put_secret
from darkroom.queue.queue import Queue
from darkroom.queue.url_secrets import url_secrets
from darkroom.signing import fits, read
from darkroom.webhook import MOST_TO_HOST
from darkroom.webhook_messages import new_secret
from tests.outside import Asked, closed_port, outside, replies

OUTBOUND = Outbound(
    Policy(networks=(ip_network("127.0.0.1/32"),)), trust=httpcore2.default_ssl_context()
)
SECRET = new_secret()
Told = Callable[[], bool]


@pytest.fixture
def queue(redis: Redis) -> Queue:
    queue = Queue(redis)
    queue.carry_out(put_secret("ann", SECRET, 0))
    return queue


def canceled(queue: Queue, url: str, owner: str = "ann") -> str:
    """A job with a message that is due."""
    job = queue.submit({}, model="pix", owner=owner, webhook={"url": url}).job
    queue.cancel(job.id)
    return job.id


@contextmanager
def messenger(url: str, attempt_s: float = 10) -> Iterator[None]:
    """One that runs in a thread, as in the keeper."""
    stop = threading.Event()

    async def run() -> None:
        async with connect_async(url) as redis:
            client = AsyncClient(redis, scripts(PLAIN_RULES))
            await Messenger(client, OUTBOUND, attempt_s).run(stop)

    thread = Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def wait_for(redis: Redis, told: Told) -> None:
    """Until it is so; each step of a messenger is a command of its own."""
    with redis.monitor() as monitor:
        while not told():
            monitor.next_command()


def no_message_waits(redis: Redis) -> Told:
    return lambda: not redis.exists("darkroom:outbox")


def verified(asked: Asked) -> dict:
    told: dict = Receiver(SECRET).verify(asked.body, asked.headers)
    return told


def test_a_message_is_delivered_signed_and_forgotten(
    queue: Queue, redis: Redis, valkey: RedisServer
) -> None:
    with outside(replies(204)) as server, messenger(valkey.url):
        job = canceled(queue, f"{server.url}/hook")
        wait_for(redis, no_message_waits(redis))
        [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/hook")
    told = verified(asked)
    assert told["type"] == "job.canceled"
    assert told["data"] == queue.fetch(job).model_dump(mode="json")
    assert asked.headers["webhook-id"] == f"msg_{job.removeprefix('job_')}_1"
    assert asked.headers["content-type"] == "application/json"
    assert redis.keys("darkroom:message:*") == []


def test_a_prediction_comes_bare_and_its_addresses_take_no_key(
    queue: Queue, redis: Redis, valkey: RedisServer
) -> None:
    key, _ = new_key("ann", USUAL_SCOPES)
    queue.carry_out(put(key))
    queue.carry_out(put_secret(key.id, SECRET, 0))
    with outside(replies(204)) as server, messenger(valkey.url):
        webhook = {"url": server.url, "prediction_root": "https://darkroom.example"}
        job = queue.submit({"model": "pix"}, model="pix", owner=key.id, webhook=webhook).job
        queue.cancel(job.id)
        wait_for(redis, no_message_waits(redis))
        [asked] = server.asked
    headers = {"headers": asked.headers, "body": asked.body.decode()}
    Webhooks.validate(**headers, secret=WebhookSigningSecret(key=SECRET), tolerance=300)
    told = verified(asked)
    assert (told["id"], told["status"], told["model"]) == (job.id, "canceled", "darkroom/pix")
    stream = urlsplit(told["urls"]["stream"])
    assert stream.path == f"/replicate/v1/predictions/{job.id}/stream"
    signed = read(stream.path, dict(parse_qsl(stream.query)))
    assert signed is not None
    assert fits(signed, key.digest, queue.carry_out(url_secrets()))


@pytest.mark.parametrize("status", [302, 307, 400, 401, 404, 429, 500, 503])
def test_what_is_not_taken_is_sent_again_later(
    queue: Queue, redis: Redis, valkey: RedisServer, status: int
) -> None:
    with outside(replies(status, Retry_After="600", Location="/other")) as server:
        with messenger(valkey.url):
            canceled(queue, server.url)
            key = f"darkroom:outbox:due:ann|127.0.0.1:{server.port}"
            wait_for(redis, lambda: bool(server.asked) and redis.zcard(key) == 1)
        assert server.paths == ["/"]
    [(message, due)] = redis.zrange(key, 0, -1, withscores=True)
    fields = redis.hgetall(b"darkroom:message:" + message)
    assert fields[b"attempts"] == b"1"
    assert fields[b"why"] == b"Its server answered %d." % status
    assert due - redis.time()[0] > 500


def test_a_receiver_that_is_away_or_too_near_is_tried_again(
    queue: Queue, redis: Redis, valkey: RedisServer
) -> None:
    urls = {
        f"http://127.0.0.1:{closed_port()}/": b"Its server cannot be reached.",
        "http://127.0.0.2:9/": b"Its host has no address that may be asked.",
    }
    for url in urls:
        canceled(queue, url)
    with messenger(valkey.url):
        messages = redis.keys("darkroom:message:*")
        wait_for(redis, lambda: all(redis.hexists(each, "why") for each in messages))
    found = [redis.hmget(each, "url", "why") for each in messages]
    assert {url.decode(): why for url, why in found} == urls


def test_410_ends_it(queue: Queue, redis: Redis, valkey: RedisServer) -> None:
    with outside(replies(410)) as server, messenger(valkey.url):
        job = canceled(queue, server.url)
        wait_for(redis, no_message_waits(redis))
    [failed] = queue.carry_out(failed_messages("ann", 9))
    assert failed.why == "Its server answered 410."
    assert queue.fetch(job).webhook is None


def test_nothing_is_sent_without_a_signature(
    queue: Queue, redis: Redis, valkey: RedisServer
) -> None:
    with outside() as server, messenger(valkey.url):
        canceled(queue, server.url, owner="bob")
        wait_for(redis, no_message_waits(redis))
        assert server.asked == []
    [failed] = queue.carry_out(failed_messages("bob", 9))
    assert failed.why == "There is no secret to sign it with."


def test_the_last_attempt_is_the_last(queue: Queue, redis: Redis, valkey: RedisServer) -> None:
    with outside(replies(500)) as server:
        canceled(queue, server.url)
        redis.hset(redis.keys("darkroom:message:*")[0], "attempts", 9)
        with messenger(valkey.url):
            wait_for(redis, no_message_waits(redis))
    [failed] = queue.carry_out(failed_messages("ann", 9))
    assert (failed.attempts, failed.why) == (10, "Its server answered 500.")


def test_slow_receivers_hold_up_none_and_are_bounded(
    queue: Queue, redis: Redis, valkey: RedisServer
) -> None:
    release, held = Event(), threading.Semaphore(0)

    def slow(to: BaseHTTPRequestHandler, body: bytes) -> None:
        held.release()
        release.wait(60)
        replies(204)(to, body)

    with outside(slow) as stuck, outside(replies(204)) as quick, messenger(valkey.url, 60):
        for _ in range(MOST_TO_HOST + 3):
            canceled(queue, stuck.url)
        for _ in range(MOST_TO_HOST):
            assert held.acquire(timeout=20)
        jobs = {canceled(queue, quick.url) for _ in range(20)}
        key = f"darkroom:outbox:due:ann|127.0.0.1:{quick.port}"
        wait_for(redis, lambda: len(quick.asked) == len(jobs) and not redis.exists(key))
        assert {verified(each)["data"]["id"] for each in quick.asked} == jobs
        assert len(stuck.asked) == MOST_TO_HOST
        release.set()
        wait_for(redis, no_message_waits(redis))
        assert len(stuck.asked) == MOST_TO_HOST + 3


def test_a_receiver_that_takes_too_long_is_left(
    queue: Queue, redis: Redis, valkey: RedisServer
) -> None:
    release = Event()

    def silent(_: BaseHTTPRequestHandler, __: bytes) -> None:
        release.wait(60)

    with outside(silent) as server, messenger(valkey.url, attempt_s=0.2):
        canceled(queue, server.url)
        [message] = redis.keys("darkroom:message:*")
        wait_for(redis, lambda: redis.hexists(message, "why"))
        release.set()
    assert redis.hget(message, "why") == b"It took longer than 0.2 seconds."


def test_several_do_not_double(queue: Queue, redis: Redis, valkey: RedisServer) -> None:
    with outside(replies(204)) as server:
        jobs = [canceled(queue, server.url) for _ in range(40)]
        with messenger(valkey.url), messenger(valkey.url):
            wait_for(redis, no_message_waits(redis))
        told = [verified(each)["data"]["id"] for each in server.asked]
    assert sorted(told) == sorted(jobs)


def test_while_redis_is_away_it_says_so(tmp_path: object) -> None:
    async def run() -> None:
        async with connect_async(f"unix://{tmp_path}/none") as redis:
            await Messenger(AsyncClient(redis, scripts(PLAIN_RULES)), OUTBOUND).run(Event())

    with pytest.raises(QueueUnavailableError):
        asyncio.run(run())
