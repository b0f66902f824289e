"""The event feed: one listener for all waiters, no change missed, Redis may go and come."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.errors import QueueUnavailableError
from darkroom.job import JobStatus, Progress
from darkroom.queue import calls, events
from darkroom.queue.connection import connect_async
from darkroom.queue.events import EventFeed
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.lua import Rules, scripts
from darkroom.queue.queue import News, Queue, queue_names
from tests.begun import begun


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[EventFeed]:
    client = AsyncClient(connect_async(url), scripts(Rules()))
    async with client.redis, EventFeed(client) as feed:
        await until(lambda: feed.connected)
        yield feed


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def off_loop(call: Callable[[], object]) -> object:
    return await asyncio.get_running_loop().run_in_executor(None, call)


def run(test: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test

    asyncio.run(bounded())


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def claim(queue: Queue) -> object:
    return begun(queue, queues=queue_names(["emoji"]), token="t")


def test_every_change_of_a_job_wakes_its_waiter(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        async with listening(valkey.url) as feed, feed.watch(job.id) as watch:
            await watch.changed(0)
            got = await off_loop(lambda: claim(queue))
            assert await watch.changed(5)
            await off_loop(lambda: queue.tell([News(got, Progress(stage="denoise"))]))
            assert await watch.changed(5)
            await off_loop(lambda: queue.finish(got, JobStatus.SUCCEEDED))
            assert await watch.changed(5)
            assert not await watch.changed(0.05)

    run(test())


def test_change_between_two_waits_is_not_missed(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        async with listening(valkey.url) as feed, feed.watch(job.id) as watch:
            queue.cancel(job.id)  # blocks the loop: nobody waits meanwhile
            assert await watch.changed(5)

    run(test())


def test_waiter_is_not_woken_by_other_jobs(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        mine, other = (queue.submit({}, model="emoji").job for _ in range(2))
        async with (
            listening(valkey.url) as feed,
            feed.watch(mine.id) as watch,
            feed.watch(other.id) as witness,
        ):
            await witness.changed(0)
            await watch.changed(0)
            queue.cancel(other.id)
            assert await witness.changed(5)
            assert not await watch.changed(0.05)

    run(test())


def test_all_waiters_of_a_job_are_woken_and_forgotten(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        async with listening(valkey.url) as feed:

            async def wait() -> bool:
                async with feed.watch(job.id) as watch:
                    return await watch.changed(10)

            waits = [asyncio.create_task(wait()) for _ in range(50)]
            await until(lambda: feed.waiters == 50)
            queue.cancel(job.id)
            assert all(await asyncio.gather(*waits))
            assert not feed.waiters
            assert not feed._jobs

    run(test())


def test_who_waits_for_the_end_sleeps_through_what_happens_before(
    valkey: RedisServer, queue: Queue
) -> None:
    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        async with (
            listening(valkey.url) as feed,
            feed.watch(job.id) as witness,
            feed.watch(job.id, until_end=True) as watch,
        ):
            await witness.changed(0)
            await watch.changed(0)
            got = await off_loop(lambda: claim(queue))
            await off_loop(lambda: queue.tell([News(got, Progress(stage="denoise"))]))
            assert await witness.changed(5)
            assert not await watch.changed(0.05)
            await off_loop(lambda: queue.finish(got, JobStatus.SUCCEEDED))
            assert await watch.changed(5)

    run(test())


def test_all_who_watch_read_a_job_whose_client_left(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        async with listening(valkey.url) as feed, feed.watch(job.id, until_end=True) as watch:
            await watch.changed(0)
            await off_loop(lambda: queue.carry_out(calls.left(job.id)))
            assert await watch.changed(5)
            await watch.look()
            assert await off_loop(lambda: queue.redis.zcard("darkroom:left")) == 0

    run(test())


def test_a_feed_tells_scripts_that_it_lives(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        async with listening(valkey.url) as feed:
            channel = calls.service_channel(feed.service)
            assert dict(queue.redis.pubsub_numsub(channel)) == {channel.encode(): 1}

    run(test())


def test_a_change_is_read_once_for_all_who_watch(valkey: RedisServer, queue: Queue) -> None:
    """Commands are counted by the server, as it saw them."""

    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        got = claim(queue)
        async with listening(valkey.url) as feed, contextlib.AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(feed.watch(job.id)) for _ in range(50)]
            with Redis.from_url(valkey.url) as redis:
                before = reads(redis)
                queue.tell([News(got, Progress(stage="denoise", step=1))])  # blocks the loop
                await asyncio.gather(*(watch.changed(5) for watch in watches))
                told = await asyncio.gather(*(watch.history() for watch in watches))
                seen = await asyncio.gather(*(watch.look() for watch in watches))
                now = reads(redis)
            assert {tuple(e.kind for e in each) for each in told} == {
                ("status", "status", "progress")
            }
            assert {each.job("").progress.step for each in seen} == {1}
            assert now["xrange"] - before["xrange"] == 1
            assert now["hgetall"] - before["hgetall"] == 1

    run(test())


def reads(redis: Redis) -> Counter[str]:
    stats = redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})


def test_watchers_see_each_event_once_wherever_they_begin(
    valkey: RedisServer, queue: Queue
) -> None:
    async def follow(feed: EventFeed, job_id: str, after: str | None) -> list[str]:
        seen: list[str] = []
        async with feed.watch(job_id) as watch:
            while True:
                for event in await watch.history(after):
                    seen.append(after := event.id)
                    if event.kind == "done":
                        return seen
                await watch.changed(5)

    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        got = claim(queue)
        async with listening(valkey.url) as feed:
            early = await feed.history(job.id)
            afters = [None, "junk", early[0].id, early[1].id]
            following = []
            for step in range(300):
                if step % 60 == 0:
                    following += [
                        asyncio.create_task(follow(feed, job.id, each)) for each in afters
                    ]
                await off_loop(
                    lambda n=step: queue.tell([News(got, Progress(stage="denoise", step=n))])
                )
            await off_loop(lambda: queue.finish(got, JobStatus.SUCCEEDED))
            everything = [event.id for event in await feed.history(job.id)]
            for i, task in enumerate(following):
                seen = await task
                assert seen == sorted(set(seen), key=lambda each: tuple(map(int, each.split("-"))))
                late = seen[-len(everything) :]
                assert late == everything[-len(late) :]
                assert len(seen) == 303 - max(0, i % 4 - 1)

    run(test())


def test_who_changed_a_job_never_reads_it_as_it_was(valkey: RedisServer, queue: Queue) -> None:
    async def test() -> None:
        job = queue.submit({}, model="emoji").job
        async with listening(valkey.url) as feed, feed.watch(job.id) as watch:
            assert (await watch.look()).job("").status is JobStatus.QUEUED
            queue.cancel(job.id)  # blocks the loop: the feed has not heard of it
            async with feed.watch(job.id) as other:
                assert (await other.look()).job("").status is JobStatus.CANCELED

    run(test())


def test_listener_survives_an_absence_of_redis(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RECONNECT_PAUSE_S", 0.05)

    async def test() -> None:
        server = RedisServer(state_dir)
        url = server.start()
        async with listening(url) as feed, feed.watch("job_1") as watch:
            server.stop()
            await until(lambda: not feed.connected)
            await watch.changed(0)
            assert await watch.changed(5), "waiters poll meanwhile"
            with pytest.raises(QueueUnavailableError):
                await feed.history("job_1")
            server.start()
            await until(lambda: feed.connected)
            await watch.changed(0)
            with Redis.from_url(url) as redis:
                redis.publish(events.CHANNEL, "job_1")
            assert await watch.changed(5)
        server.stop()

    run(test())


def test_listener_survives_what_others_publish(
    valkey: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RECONNECT_PAUSE_S", 0.0)

    async def test() -> None:
        async with listening(valkey.url) as feed, feed.watch("job_1") as watch:
            await watch.changed(0)
            redis.publish(events.CHANNEL, b"\xff")
            assert await watch.changed(5), "waiters look for themselves"
            await until(lambda: feed.connected)
            await watch.changed(0)
            redis.publish(events.CHANNEL, "job_1")
            assert await watch.changed(5)

    run(test())


def test_closing_wakes_everybody(valkey: RedisServer, redis: Redis) -> None:
    redis.ping()

    async def test() -> None:
        async with listening(valkey.url) as feed, feed.watch("job_1") as watch:
            await watch.changed(0)
            waiting = asyncio.create_task(watch.changed(10))
            await asyncio.sleep(0)
            feed.close()
            assert await waiting
            assert await watch.changed(10)

    run(test())


def test_history_tells_the_whole_life_in_order(valkey: RedisServer, queue: Queue) -> None:
    job = queue.submit({}, model="emoji").job
    got = claim(queue)
    progress = Progress(stage="denoise", step=1, steps=2)
    queue.tell([News(got, progress)])
    queue.finish(got, JobStatus.SUCCEEDED)

    async def test() -> None:
        async with listening(valkey.url) as feed:
            told = await feed.history(job.id)
            assert [e.kind for e in told] == ["status", "status", "progress", "done"]
            assert [json.loads(told[i].data)["status"] for i in (0, 1, 3)] == [
                "queued",
                "running",
                "succeeded",
            ]
            assert Progress.model_validate_json(told[2].data) == progress
            assert await feed.history(job.id, after=told[1].id) == told[2:]
            assert await feed.history(job.id, after=told[3].id) == []
            for unknown in ("x", "1-1 COUNT 1", "-"):
                assert await feed.history(job.id, after=unknown) == told

    run(test())


def test_streams_are_bounded_and_expire(queue: Queue, redis: Redis) -> None:
    job = queue.submit({}, model="emoji").job
    got, stream = claim(queue), f"darkroom:events:{job.id}"
    for step in range(600):
        queue.tell([News(got, Progress(stage="denoise", step=step))])
    assert redis.xlen(stream) < 400
    assert redis.ttl(stream) > 3600
    queue.finish(got, JobStatus.SUCCEEDED)
    assert redis.ttl(stream) <= 3600
