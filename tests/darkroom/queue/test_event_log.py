"""Streams of several jobs: each event once, in order, from wherever one begins; gaps are told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.job import JobStatus, Progress
from darkroom.queue.connection import connect_async
from darkroom.queue.event_log import (
    AT_ONCE,
    KEPT_S,
    MOST_KEPT,
    Place,
    Tail,
    place,
    read,
    stream_of,
    stream_of_job,
)
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.queue import News, Queue, queue_names
from tests.begun import begun

T = TypeVar("T")


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def live(queue: Queue, owner: str, steps: int = 1) -> str:
    """A job from its acceptance to its end; returns its id."""
    job = queue.submit({}, model="emoji", owner=owner).job
    claim = begun(queue, queues=queue_names(["emoji"]), token=job.id)
    for step in range(steps):
        queue.tell([News(claim, Progress(stage="denoise", step=step))])
    queue.finish(claim, JobStatus.SUCCEEDED)
    return job.id


def with_client(valkey: RedisServer, test: Callable[[AsyncClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with asyncio.timeout(20):
            client = AsyncClient(connect_async(valkey.url))
            async with client.redis:
                return await test(client)

    return asyncio.run(run())


def told(queue: Queue, stream: str, after: str | None = None) -> list[tuple[str | None, str]]:
    return [(event.job_id, event.kind) for event in queue.carry_out(read(stream, after))]


def test_an_event_stands_with_its_job_with_its_owner_and_with_all(queue: Queue) -> None:
    kinds = ["status", "status", "progress", "done"]
    old, anns, bobs = (live(queue, owner) for owner in ("", "ann", "bob"))
    assert told(queue, stream_of_job(anns)) == [(None, kind) for kind in kinds]
    assert told(queue, stream_of("ann")) == [(anns, kind) for kind in kinds]
    assert told(queue, stream_of("bob")) == [(bobs, kind) for kind in kinds]
    all_jobs = [(job, kind) for job in (old, anns, bobs) for kind in kinds]
    assert told(queue, stream_of(None)) == all_jobs
    assert not queue.redis.exists(stream_of("")), "whose it is nobody has a key for"


def fill(redis: Redis, stream: str, count: int) -> None:
    with redis.pipeline() as pipe:
        for _ in range(count):
            pipe.xadd(stream, {"event": "progress", "data": "{}"})
        pipe.execute()


def test_streams_of_owners_are_bounded_and_expire(queue: Queue, redis: Redis) -> None:
    live(queue, "ann")
    fill(redis, stream_of("ann"), MOST_KEPT + 200)
    live(queue, "ann")
    for stream in (stream_of("ann"), stream_of(None)):
        assert redis.xlen(stream) < MOST_KEPT + 128
        assert 0 < redis.ttl(stream) <= KEPT_S


def test_a_tail_tells_what_came_since_it_began(valkey: RedisServer, queue: Queue) -> None:
    early = live(queue, "ann")

    async def test(client: AsyncClient) -> None:
        stream = stream_of("ann")
        tail = Tail(client, stream, most=3, whole=False)
        here = (await client.carry_out(place(stream))).after
        assert await tail.after(here) == []
        late = live(queue, "ann", steps=AT_ONCE)
        tail.outdate()
        seen, after = [], here
        while events := await tail.after(after):
            assert len(events) <= AT_ONCE
            seen += [(event.job_id, event.kind) for event in events]
            after = events[-1].id
        assert seen == told(queue, stream, here)
        assert {job for job, _ in seen} == {late}
        assert len(await tail.after(seen_id(queue, stream, -2))) == 1
        everything = [event.job_id for event in await tail.after(None)]
        assert (everything[0], len(everything)) == (early, AT_ONCE)

    with_client(valkey, test)


def seen_id(queue: Queue, stream: str, index: int) -> str:
    return queue.carry_out(read(stream, None))[index].id


def test_who_begins_where_there_is_nothing_misses_nothing(queue: Queue) -> None:
    stream = stream_of("ann")
    for _ in range(50):
        queue.redis.flushall()
        here = queue.carry_out(place(stream))
        job = queue.submit({}, model="emoji", owner="ann").job.id
        assert not here.has_gap
        assert told(queue, stream, here.after) == [(job, "status")]
        assert queue.carry_out(place(stream, here.after)) == here, "though it is a bit older"


def test_who_comes_back_goes_on_or_hears_of_a_gap(queue: Queue, redis: Redis) -> None:
    stream = stream_of("ann")

    def at(after: str) -> Place:
        return queue.carry_out(place(stream, after))

    live(queue, "ann")
    ids = [event.id for event in queue.carry_out(read(stream, None))]
    assert [at(each) for each in ids] == [Place(each) for each in ids]
    assert at("0-0") == Place("0-0"), "all that is kept is what was asked for"
    hour_ms = KEPT_S * 1000
    first_ms = int(ids[0].partition("-")[0])
    redis.xtrim(stream, maxlen=2, approximate=False)
    assert at(ids[0]) == Place(ids[0]), "nothing is taken away from a stream that is not full"
    assert not at(f"{first_ms - hour_ms + 60_000}-0").has_gap
    assert at(f"{first_ms - hour_ms - 60_000}-0").has_gap, "it may have expired since"
    fill(redis, stream, MOST_KEPT)
    assert at(ids[0]) == Place(ids[0], has_gap=True)
    assert at(ids[-2]) == Place(ids[-2])
    newest = queue.carry_out(read(stream, None))[-1].id
    assert at(f"{10**18}-0") == Place(newest, has_gap=True), "of another Redis"
    redis.delete(stream)
    seconds, _ = redis.time()
    young, old = (f"{(seconds - age) * 1000}-0" for age in (KEPT_S - 60, KEPT_S + 60))
    assert at(young) == Place(young), "nothing came since, or it would be here"
    assert at(old).has_gap
    assert not at(at(old).after).has_gap
