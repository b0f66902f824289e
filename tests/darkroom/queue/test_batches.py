"""Jobs that are asked for together: all or nothing, read, canceled and deleted as one."""

from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from darkroom.batch import Batch
from darkroom.command.valkey import RedisServer
from darkroom.errors import (
    BatchNotFoundError,
    IdempotencyMismatchError,
    JobNotFoundError,
    OverloadError,
    QueueFullError,
    QueueUnavailableError,
    RateLimitedError,
    TooManyActiveJobsError,
    TooManyQueuedJobsError,
)
from darkroom.job import ImageRecord, JobError, JobStatus
from darkroom.queue import batches
from darkroom.queue.accepting import NewJob, Terms
from darkroom.queue.batches import SubmittedBatch
from darkroom.queue.connection import connect
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue, queue_names
from darkroom.queue.request_rates import take_request
from tests.begun import begun

ANN = Terms(owner="ann")
QUEUES = queue_names(["m"])


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def submit(
    queue: Queue, size: int, terms: Terms = ANN, *, grid: dict | None = None, **about: object
) -> SubmittedBatch:
    new = [NewJob(request={"seed": seed}, model="m", **about) for seed in range(size)]
    return queue.carry_out(batches.submit(new, terms, grid))


def fetch(queue: Queue, batch: Batch, owner: str | None = None) -> Batch:
    return queue.carry_out(batches.fetch(batch.id, owner=owner))


def finish(queue: Queue, status: JobStatus = JobStatus.SUCCEEDED, **more: object) -> str:
    """End the next job; returns its id."""
    claim = begun(queue, queues=QUEUES)
    assert queue.finish(claim, status, **more) == "committed"
    return claim.job_id


def picture(url: str | None) -> ImageRecord:
    return ImageRecord(
        id=f"img_{uuid4().hex}", url=url, width=8, height=8, seed=1, bytes=9, sha256="0" * 64
    )


def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: redis.dump(key) for key in redis.scan_iter("*")}


def test_a_batch_has_its_jobs_in_order_and_they_name_it(queue: Queue) -> None:
    grid = {"seed": [7, 8], "guidance_scale": [1.5, 2]}
    submitted = submit(queue, 4, grid=grid, tags=["t"])
    batch = submitted.batch
    assert not submitted.replayed
    assert batch.grid == grid
    assert [job.at for job in batch.jobs][1:3] == [
        {"seed": 0, "guidance_scale": 1},
        {"seed": 1, "guidance_scale": 0},
    ]
    for seed, job in enumerate(batch.jobs):
        read = queue.fetch(job.id)
        assert (read.batch_id, read.request, read.tags) == (batch.id, {"seed": seed}, ["t"])
        assert read.queue.position == seed
    assert fetch(queue, batch) == batch
    assert queue.fetch(queue.submit({}, model="m").job.id).batch_id is None


def test_it_tells_how_far_its_jobs_are(queue: Queue) -> None:
    batch = submit(queue, 5, warnings=["late"]).batch
    made = [picture("/a"), picture(None)]
    assert finish(queue, images=made, warnings=["dark"]) == batch.jobs[0].id
    finish(queue, JobStatus.FAILED, error=JobError(code="poison", message="It died."))
    begun(queue, queues=QUEUES)
    queue.cancel(batch.jobs[3].id)
    now = fetch(queue, batch)
    assert [job.status for job in now.jobs] == [
        *("succeeded", "failed", "running", "canceled", "queued")
    ]
    assert now.jobs[0].images == ["/a"]
    assert now.jobs[0].warnings == ["late", "dark"]
    assert now.jobs[1].error.code == "poison"
    assert not now.done
    assert now.counts.succeeded == 1


def test_it_tells_which_of_its_jobs_are_gone_and_goes_with_the_last(
    queue: Queue, redis: Redis
) -> None:
    batch = submit(queue, 3, Terms(owner="ann", idempotency_key="k")).batch
    first, second, third = (job.id for job in batch.jobs)
    queue.delete(second)
    now = fetch(queue, batch)
    assert [(job.id, job.status) for job in now.jobs] == [
        *((first, "queued"), (second, None), (third, "queued"))
    ]
    assert now.counts.gone == 1
    for _ in range(2):
        finish(queue)
    assert fetch(queue, batch).done
    redis.hset(f"rq:job:{first}", "dr_expires", 1)
    redis.zadd("darkroom:expiries", {first: 1})
    assert fetch(queue, batch).counts.gone == 2
    queue.sweep_retention()
    queue.delete(third)
    for ask in (batches.fetch, batches.cancel, batches.delete):
        with pytest.raises(BatchNotFoundError):
            queue.carry_out(ask(batch.id))
    assert redis.keys("darkroom:batch:*") + redis.keys("darkroom:idem:*") == []


def test_it_is_kept_no_longer_than_its_jobs_should_no_keeper_run(
    queue: Queue, redis: Redis
) -> None:
    batch = submit(queue, 2).batch
    key = f"darkroom:batch:{batch.id}"
    ended = finish(queue)
    assert redis.ttl(key) == -1
    finish(queue, JobStatus.FAILED)
    assert 0 < redis.ttl(key) <= redis.ttl(f"rq:job:{ended}")
    redis.delete(*(f"rq:job:{job.id}" for job in batch.jobs))
    assert fetch(queue, batch).counts.gone == 2


def test_what_it_takes_of_memory_counts_with_its_jobs(queue: Queue, redis: Redis) -> None:
    def kept() -> int:
        return int(redis.get("darkroom:kept_bytes") or 0)

    alone = submit(queue, 2).batch
    finish(queue)
    without = kept()
    queue.carry_out(batches.delete(alone.id))
    assert kept() == 0
    batch = submit(queue, 2, grid={"prompt": ["x" * 10_000, ""]}).batch
    finish(queue)
    assert kept() - without > 4_000
    queue.carry_out(batches.delete(batch.id))
    assert kept() == 0


def test_it_is_canceled_as_one(queue: Queue) -> None:
    batch = submit(queue, 4).batch
    finish(queue)
    claim = begun(queue, engine="e", queues=QUEUES)
    queue.carry_out(batches.cancel(batch.id, owner="ann"))
    now = fetch(queue, batch)
    assert [job.status for job in now.jobs] == ["succeeded", *["canceled"] * 3]
    assert now.done
    assert queue.beat("e", [claim]).canceled == {claim.token}
    assert queue.claim(engine="e", queues=QUEUES, token="t") is None
    assert queue.carry_out(batches.cancel(batch.id)) == now


def test_it_is_deleted_as_one_with_its_pictures(queue: Queue, redis: Redis) -> None:
    before = set(everything(redis))
    batch = submit(queue, 3, Terms(owner="ann", idempotency_key="k")).batch
    image = picture("/a")
    finish(queue, images=[image])
    begun(queue, queues=QUEUES)
    assert queue.carry_out(batches.delete(batch.id)) == [image.id]
    for job in batch.jobs:
        with pytest.raises(JobNotFoundError):
            queue.fetch(job.id)
    left = {key.decode() for key in set(everything(redis)) - before}
    assert not any(job.id in key for job in batch.jobs for key in left)
    assert [key for key in left if "batch" in key or "idem" in key or "active" in key] == []


def test_batches_of_others_are_as_if_they_were_not_there(queue: Queue) -> None:
    batch = submit(queue, 2).batch
    for ask in (batches.fetch, batches.cancel, batches.delete):
        for strange in ("bob", ""):
            with pytest.raises(BatchNotFoundError):
                queue.carry_out(ask(batch.id, owner=strange))
    assert fetch(queue, batch, "ann") == batch


def test_jobs_are_listed_by_their_batch(queue: Queue) -> None:
    batch = submit(queue, 3).batch
    queue.submit({}, model="m")
    submit(queue, 2)
    listed = [job.id for job in queue.page(batch=batch.id).jobs]
    assert listed == [job.id for job in reversed(batch.jobs)]
    assert queue.page(batch=batch.id, owner="bob").jobs == []


def test_a_key_stands_for_the_whole_batch(queue: Queue) -> None:
    terms = Terms(owner="ann", idempotency_key="k", fingerprint="f")
    first = submit(queue, 3, terms)
    again = submit(queue, 3, terms)
    assert (again.batch, again.replayed) == (first.batch, True)
    assert queue.carry_out(batches.ask(3, terms)) == again
    with pytest.raises(IdempotencyMismatchError, match=first.batch.id):
        submit(queue, 3, Terms(owner="ann", idempotency_key="k", fingerprint="g"))
    job = {"model": "m", "owner": "ann", "idempotency_key": "k", "fingerprint": "f"}
    with pytest.raises(IdempotencyMismatchError):
        queue.submit({}, **job)
    queue.submit({}, **job | {"idempotency_key": "j"})
    with pytest.raises(IdempotencyMismatchError):
        submit(queue, 1, Terms(owner="ann", idempotency_key="j", fingerprint="f"))
    queue.delete(first.batch.jobs[0].id)
    assert submit(queue, 3, terms).batch.counts.gone == 1


def test_the_same_call_sent_again_makes_nothing(queue: Queue, redis: Redis) -> None:
    terms = Terms(owner="ann", per_minute=60)
    new = [NewJob(request={}, model="m", work_s=1.0) for _ in range(4)]
    first = queue.carry_out(batches.submit(new, terms, batch_id="batch_1"))
    assert first.rate.left == 57
    before = everything(redis)
    again = queue.carry_out(batches.submit(new, terms, batch_id="batch_1"))
    assert (again.batch, again.replayed) == (first.batch, False)
    assert everything(redis) == before


def test_limits_count_all_of_its_jobs(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_queued=6))
    submit(queue, 2)
    for size, terms, error in (
        (3, Terms(owner="ann", max_active=4), TooManyActiveJobsError),
        (3, Terms(owner="ann", max_queued=4), TooManyQueuedJobsError),
        (5, ANN, QueueFullError),
        (5, Terms(owner="bob", max_active=5), QueueFullError),
    ):
        before = everything(redis)
        for ask in (lambda s=size, t=terms: submit(queue, s, t),
                    lambda s=size, t=terms: queue.carry_out(batches.ask(s, t))):  # fmt: skip
            with pytest.raises(error):
                ask()
        assert everything(redis) == before
    assert queue.carry_out(batches.ask(4, ANN)) is None
    assert len(submit(queue, 4, Terms(owner="ann", max_active=6, max_queued=6)).batch.jobs) == 4


def test_each_of_its_jobs_is_a_request_of_the_minute(queue: Queue) -> None:
    terms = Terms(owner="ann", per_minute=10)

    def come(size: int) -> SubmittedBatch:
        queue.carry_out(take_request("ann", 10))  # as for each request, before its body is read
        return submit(queue, size, terms)

    assert come(4).rate.left == 6
    with pytest.raises(RateLimitedError) as refused:
        come(7)  # one of six is gone, six more are wanted
    assert refused.value.retry_s == 6
    assert come(1).rate is None
    assert come(3).rate.left == 1
    assert len(queue.page().jobs) == 8


SIZES = st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.integers(1, 6)), max_size=8)
FUTURE = 2**40
LIMITS = st.none() | st.integers(1, 12)


@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, max_queued=st.integers(1, 20), active=LIMITS, waiting=LIMITS, rate=LIMITS)
def test_whatever_the_limits_all_of_a_batch_is_accepted_or_nothing(
    valkey: RedisServer, sizes, max_queued, active, waiting, rate
) -> None:
    limits = {"max_active": active, "max_queued": waiting, "per_minute": rate}
    accepted = {"ann": 0, "bob": 0}
    taken = {"ann": 0, "bob": 0}
    with connect(valkey.url) as redis:
        redis.flushall()
        queue = Queue(redis, Rules(max_queued=max_queued))
        for owner, size in sizes:
            most = min([each for each in (active, waiting) if each], default=99)
            fits = accepted[owner] + size <= most and sum(accepted.values()) + size <= max_queued
            if redis.exists(bucket := f"darkroom:requests:{owner}"):  # none come back
                redis.hset(bucket, "at", FUTURE)
            fits = fits and (rate is None or size == 1 or taken[owner] + size - 1 <= rate)
            before = everything(redis)
            try:
                batch = submit(queue, size, Terms(owner=owner, **limits)).batch
            except OverloadError:
                assert not fits
                assert everything(redis) == before
                continue
            assert fits
            accepted[owner] += size
            taken[owner] += size - 1
            assert batch.counts.queued == size
            assert redis.scard(f"darkroom:active:{owner}") == accepted[owner]
        assert redis.zcard("darkroom:jobs") == sum(accepted.values())
        assert redis.llen("rq:queue:m.normal") == sum(accepted.values())


def test_one_keys_batch_does_not_delay_anothers(queue: Queue) -> None:
    anns = [job.id for job in submit(queue, 50).batch.jobs]
    bobs = [job.id for job in submit(queue, 3, Terms(owner="bob")).batch.jobs]
    first = [queue.claim(engine="e", queues=QUEUES, token=uuid4().hex).job_id for _ in range(6)]
    assert set(bobs) <= set(first)
    assert len(set(anns) & set(first)) == 3


def test_a_full_redis_takes_none_of_it(queue: Queue, redis: Redis) -> None:
    before = everything(redis)
    redis.config_set("maxmemory", 1)
    with pytest.raises(QueueUnavailableError):
        submit(queue, 3)
    redis.config_set("maxmemory", 0)
    assert everything(redis) == before
