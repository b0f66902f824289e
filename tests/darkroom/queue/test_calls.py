"""Calls that wait for jobs: which job a client gets that comes again, and what becomes of one whose
client does not."""

import pytest
from redis import Redis

from darkroom.errors import TooManyActiveJobsError
from darkroom.job import Job, JobStatus
from darkroom.queue import calls, jobs
from darkroom.queue.accepting import Terms
from darkroom.queue.calls import COME_BACK_S, Call, service_channel
from darkroom.queue.queue import Queue
from tests.begun import begun


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


@pytest.fixture(autouse=True)
def _alive(redis: Redis):
    """The service `api` lives."""
    with redis.pubsub() as channel:
        channel.subscribe(service_channel("api"))
        assert channel.get_message(timeout=10)
        yield


def call(
    queue: Queue, *, repeat: bool = False, about: str = "a", service: str = "api", **more
) -> Job:
    waits = Call(about, service, is_repeat=repeat)
    return queue.submit({}, model="pix", call=waits, **more).job


def tell(queue: Queue, what, job: Job) -> None:
    queue.carry_out(what(job.id))


def test_equal_first_tries_are_jobs_of_their_own(queue: Queue) -> None:
    first = call(queue)
    tell(queue, calls.cut_off, first)
    assert call(queue).id != first.id


def test_who_asks_again_gets_the_job_of_the_call_that_was_cut_off_once(queue: Queue) -> None:
    first, second, third = (call(queue) for _ in range(3))
    for each in (second, first):
        tell(queue, calls.cut_off, each)
    again = [call(queue, repeat=True).id for _ in range(3)]
    assert again[:2] == [first.id, second.id]
    assert again[2] not in {first.id, second.id, third.id}


def test_only_an_equal_call_of_the_same_owner_is_the_same(queue: Queue) -> None:
    first = call(queue, owner="ann")
    tell(queue, calls.cut_off, first)
    assert call(queue, repeat=True, owner="bob").id != first.id
    assert call(queue, repeat=True, owner="ann", about="b").id != first.id
    assert call(queue, repeat=True, owner="ann").id == first.id


def test_a_call_that_was_answered_or_waits_is_nobody_elses(queue: Queue) -> None:
    waits, done = call(queue), call(queue)
    tell(queue, calls.answered, done)
    assert call(queue, repeat=True).id not in {waits.id, done.id}


def test_the_calls_of_a_service_that_died_are_cut_off(queue: Queue) -> None:
    lost = call(queue, service="killed")
    assert call(queue, repeat=True).id == lost.id
    assert call(queue, repeat=True).id != lost.id


def test_a_repeat_gets_a_job_that_has_ended_meanwhile_but_not_long_ago(
    queue: Queue, redis: Redis
) -> None:
    job = call(queue, service="killed")
    queue.finish(begun(queue, worker="w", queues=["pix.normal"]), JobStatus.FAILED)
    assert call(queue, repeat=True, service="killed").id == job.id
    redis.hincrbyfloat(f"rq:job:{job.id}", "dr_ended", -61)
    assert call(queue, repeat=True).id != job.id


def test_a_repeat_does_not_get_a_canceled_job(queue: Queue) -> None:
    job = call(queue, service="killed")
    queue.cancel(job.id)
    assert call(queue, repeat=True).id != job.id


def test_a_repeat_needs_no_room_for_its_job(queue: Queue) -> None:
    job = call(queue, service="killed")
    again = Call("a", "api", is_repeat=True)
    terms = Terms(call=again, max_active=1)
    assert queue.carry_out(jobs.ask(terms)) == jobs.Submitted(job, replayed=True)
    with pytest.raises(TooManyActiveJobsError):
        queue.carry_out(jobs.ask(terms))


def due(queue: Queue, redis: Redis) -> list[str]:
    """Let the time pass that a client has to come again; the jobs that are canceled for it."""
    for job_id, at in redis.zrange("darkroom:left", 0, -1, withscores=True):
        redis.zadd("darkroom:left", {job_id: at - COME_BACK_S})
    return queue.cancel_left()


@pytest.mark.parametrize("runs", [False, True])
def test_a_job_whose_client_left_is_canceled_in_time(
    queue: Queue, redis: Redis, runs: bool
) -> None:
    job = call(queue)
    claim = begun(queue, worker="w", queues=["pix.normal"]) if runs else None
    tell(queue, calls.left, job)
    assert queue.cancel_left() == []
    assert due(queue, redis) == [job.id]
    ended = queue.carry_out(jobs.fetch(job.id))
    assert (ended.status, ended.error.code) == (JobStatus.CANCELED, "canceled")
    assert call(queue, repeat=True).id != job.id
    assert not claim or queue.beat("e", [claim]).canceled


def test_who_reads_or_repeats_a_job_keeps_it(queue: Queue, redis: Redis) -> None:
    read, repeated, keyed = (
        call(queue),
        call(queue, about="b"),
        queue.submit({}, model="pix", idempotency_key="k", fingerprint="f").job,
    )
    for job in (read, repeated, keyed):
        tell(queue, calls.left, job)
    queue.fetch(read.id)
    assert call(queue, repeat=True, about="b").id == repeated.id
    assert queue.submit({}, model="pix", idempotency_key="k", fingerprint="f").replayed
    assert due(queue, redis) == []


def test_a_job_that_was_cut_off_or_has_ended_is_not_left(queue: Queue, redis: Redis) -> None:
    cut, ended = call(queue), call(queue)
    tell(queue, calls.cut_off, cut)
    queue.cancel(ended.id)
    tell(queue, calls.left, ended)
    tell(queue, calls.left, Job.model_construct(id=f"job_{'0' * 32}"))
    assert due(queue, redis) == []


def test_who_comes_with_the_key_of_a_job_that_was_left_gets_another(
    queue: Queue, redis: Redis
) -> None:
    asked = {"model": "pix", "idempotency_key": "k", "fingerprint": "f"}
    job = queue.submit({}, **asked).job
    tell(queue, calls.left, job)
    assert due(queue, redis) == [job.id]
    again = queue.submit({}, **asked)
    assert (again.replayed, again.job.status) == (False, JobStatus.QUEUED)
