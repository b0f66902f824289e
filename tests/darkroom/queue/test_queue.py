"""The transitions of the queue, each against a real Valkey."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from darkroom.command.valkey import RedisServer
from darkroom.errors import (
    ExpiredError,
    IdempotencyMismatchError,
    JobNotFoundError,
    QueueFullError,
    QueueUnavailableError,
    TooManyActiveJobsError,
    TooManyQueuedJobsError,
)
from darkroom.job import ImageRecord, Job, JobError, JobStatus, Progress, Timings, new_image_id
from darkroom.queue import lua
from darkroom.queue.claim import EXCUSES
from darkroom.queue.connection import connect, translated
from darkroom.queue.event_log import stream_of
from darkroom.queue.job_hash import FUNCTION
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Claim, News, Queue, engine_bell, queue_bell, queue_names, room_bell

QUEUES = queue_names(["emoji"])
REQUEST = {"task": "text-to-image", "model": "emoji", "prompt": "a cat, \u732b", "seed": 7}


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis, Rules(lease_s=10))


def submit(queue: Queue, request: dict[str, object] = REQUEST, **options: object) -> Job:
    return queue.submit(request, **{"model": "emoji", **options}).job


def hold(queue: Queue, engine: str = "engine-1", **options: object) -> Claim | None:
    """A claim that has not begun."""
    options = {"queues": QUEUES, "token": uuid4().hex, **options}
    return queue.claim(engine=engine, **options)


def claim(queue: Queue, engine: str = "engine-1", **options: object) -> Claim | None:
    """A claim that has begun."""
    held = hold(queue, engine, **options)
    return held and queue.begin(held, "worker-1")


def image() -> ImageRecord:
    image_id = new_image_id()
    sizes = {"width": 64, "height": 64, "seed": 7, "bytes": 9, "sha256": "0" * 64}
    return ImageRecord(id=image_id, url=f"/api/v1/images/{image_id}", **sizes)


def end_all_leases(queue: Queue) -> None:
    """What the clock would do: Redis's time cannot be moved, so the leases are."""
    for job_id in queue.redis.zrange("darkroom:leases", 0, -1):
        queue.redis.zadd("darkroom:leases", {job_id: 1})


def pass_time(redis: Redis, job_id: str, seconds: float) -> None:
    """Let a queued job look as if it had been accepted so many seconds earlier."""
    key = f"rq:job:{job_id}"
    for field in ("dr_created", "dr_queued"):
        redis.hset(key, field, float(redis.hget(key, field)) - seconds)


def kinds(redis: Redis, job_id: str) -> list[str]:
    rows = redis.xrange(f"darkroom:events:{job_id}")
    return [fields[b"event"].decode() for _, fields in rows]


# Submit


def test_submitted_job_reads_back_as_given(queue: Queue) -> None:
    options = {"priority": "high", "tags": ["a"], "metadata": {"k": [1]}}
    job = submit(queue, warnings=["odd"], **options)
    assert queue.fetch(job.id) == job
    assert job.status is JobStatus.QUEUED
    assert (job.request, job.warnings) == (REQUEST, ["odd"])
    assert job.model_dump(include=set(options)) == options
    assert (job.queue.name, job.queue.position) == ("emoji.high", 0)
    assert abs(job.created_at.timestamp() - time.time()) < 5


def test_the_work_of_a_job_is_kept_in_plain_digits(queue: Queue, redis: Redis) -> None:
    for given, kept in ((0.00001, b"0.000"), (12.3456, b"12.346"), (1e7, b"10000000.000")):
        assert redis.hget(f"rq:job:{submit(queue, work_s=given).id}", "dr_work") == kept
    assert redis.hget(f"rq:job:{submit(queue).id}", "dr_work") is None


@pytest.mark.parametrize("key", [None, "k"])
def test_submit_repeated_after_a_lost_reply_has_one_effect(
    queue: Queue, redis: Redis, key: str | None
) -> None:
    first = queue.submit(REQUEST, model="emoji", job_id="job_1", idempotency_key=key)
    again = queue.submit(REQUEST, model="emoji", job_id="job_1", idempotency_key=key)
    assert first == again
    assert not again.replayed
    assert redis.lrange("rq:queue:emoji.normal", 0, -1) == [b"job_1"]
    assert queue.counters() == {("submitted", "emoji"): 1}


def test_same_idempotency_key_and_body_give_the_same_job(queue: Queue, redis: Redis) -> None:
    same = {"model": "emoji", "idempotency_key": "k", "fingerprint": "f", "owner": "ann"}
    first = queue.submit(REQUEST, **same)
    again = queue.submit(REQUEST, **same)
    assert (again.job, first.replayed, again.replayed) == (first.job, False, True)
    assert redis.llen("rq:queue:emoji.normal") == 1
    (key,) = redis.keys("darkroom:idem:*")
    assert 86000 < redis.ttl(key) <= 86400


def test_idempotency_key_with_another_body_is_refused(queue: Queue) -> None:
    submit(queue, idempotency_key="k", fingerprint="f")
    with pytest.raises(IdempotencyMismatchError):
        submit(queue, idempotency_key="k", fingerprint="g")


def test_idempotency_keys_belong_to_their_owner(queue: Queue) -> None:
    pairs = [("a", "k"), ("b", "k"), ("a", "k:x"), ("a:k", "x"), ("", "")]
    jobs = {submit(queue, owner=owner, idempotency_key=key).id for owner, key in pairs}
    assert len(jobs) == len(pairs)


def test_idempotency_key_of_a_deleted_job_is_free_again(queue: Queue) -> None:
    first = submit(queue, idempotency_key="k")
    queue.delete(first.id)
    assert submit(queue, idempotency_key="k").id != first.id


def test_parallel_submits_with_one_key_make_one_job(queue: Queue) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: submit(queue, idempotency_key="k").id, range(30)))
    assert len(set(jobs)) == 1
    assert queue.queues()[0].queued == 1


def test_full_queue_counts_the_jobs_of_all_queues(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_queued=3))
    for priority in ("high", "normal", "low"):
        submit(queue, priority=priority)
    for _ in range(2):
        with pytest.raises(QueueFullError):
            submit(queue, model="other")
        held = hold(queue)  # which still waits
    queue.begin(held, "w")
    submit(queue, model="other")


def test_quota_counts_queued_and_running_jobs_of_one_owner(queue: Queue) -> None:
    quota = {"owner": "ann", "max_active": 2}
    first = submit(queue, **quota)
    submit(queue, **quota)
    running = claim(queue)
    assert running.job_id == first.id
    with pytest.raises(TooManyActiveJobsError):
        submit(queue, **quota)
    submit(queue, owner="bob", max_active=2)
    queue.finish(running, JobStatus.SUCCEEDED)
    third = submit(queue, **quota)
    with pytest.raises(TooManyActiveJobsError):
        submit(queue, **quota)
    queue.cancel(third.id)
    submit(queue, **quota)


def test_quota_of_queued_jobs_leaves_out_those_that_run(queue: Queue) -> None:
    quota = {"owner": "ann", "max_queued": 2, "max_active": 4}
    submit(queue, **quota)
    submit(queue, **quota)
    for _ in range(2):
        held = hold(queue)  # which still waits
        with pytest.raises(TooManyQueuedJobsError):
            submit(queue, **quota)
        queue.begin(held, "w")
        submit(queue, **quota)
    with pytest.raises(TooManyActiveJobsError):
        submit(queue, **quota)
    submit(queue, owner="bob", max_queued=1)


@pytest.mark.parametrize("limit", ["max_active", "max_queued"])
def test_quota_forgets_what_rq_tools_canceled(queue: Queue, redis: Redis, limit: str) -> None:
    quota = {"owner": "ann", limit: 1}
    job = submit(queue, **quota)
    redis.hset(f"rq:job:{job.id}", "status", "canceled")
    submit(queue, **quota)
    assert redis.scard("darkroom:active:ann") == 1


def test_refused_submit_leaves_nothing_behind(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_queued=1))
    submit(queue, owner="ann")
    before = sorted(redis.keys())
    with pytest.raises(QueueFullError):
        submit(queue, owner="bob", model="other", idempotency_key="k", deadline_s=9)
    assert sorted(redis.keys()) == before


def test_position_never_rises(queue: Queue) -> None:
    jobs = [submit(queue) for _ in range(4)]
    last = jobs[-1].id
    seen = [queue.fetch(last).queue.position]
    first, second = claim(queue), claim(queue)
    seen.append(queue.fetch(last).queue.position)
    queue.release(second)
    end_all_leases(queue)
    queue.reap()
    seen.append(queue.fetch(last).queue.position)
    assert queue.fetch(first.job_id).queue.position == 0
    queue.cancel(jobs[2].id)
    seen.append(queue.fetch(last).queue.position)
    assert seen == [3, 1, 1, 0]


# Claim


def test_claim_leases_the_oldest_job_of_the_first_queue(queue: Queue) -> None:
    low, normal, high, later = (submit(queue, priority=p) for p in ("low", "normal", "high", "low"))
    order = [claim(queue).job_id for _ in range(4)]
    assert order == [high.id, normal.id, low.id, later.id]
    assert claim(queue) is None


def test_a_claimed_job_waits_until_it_begins(queue: Queue, redis: Redis) -> None:
    jobs = [submit(queue, deadline_s=60) for _ in range(2)]
    held = [hold(queue), hold(queue)]
    for index, (job, claimed) in enumerate(zip(jobs, held, strict=True)):
        waiting = queue.fetch(job.id)
        assert (waiting.status, waiting.attempts, waiting.worker) == ("queued", 0, None)
        assert waiting.queue.position == index
        assert (claimed.job_id, claimed.attempt, claimed.began) == (job.id, 0, False)
        assert kinds(redis, job.id) == ["status"]
    (state,) = queue.queues()
    assert (state.queued, state.running) == (2, 0)
    assert queue.tell([News(held[0], Progress(stage="load"))]) == [False]
    assert queue.beat("engine-1", held).lost == frozenset()
    assert queue.begin(held[1], "w").attempt == 1
    (state,) = queue.queues()
    assert (state.queued, state.running) == (1, 1)
    assert queue.fetch(jobs[0].id).queue.position == 0


def test_begin_repeated_after_a_lost_reply_has_one_effect(queue: Queue, redis: Redis) -> None:
    job = submit(queue)
    held = hold(queue)
    first, again = queue.begin(held, "w"), queue.begin(held, "w")
    assert (first.attempt, again.attempt, again.began) == (1, 1, True)
    assert kinds(redis, job.id) == ["status", "status"]


def test_nobody_begins_a_job_that_is_not_theirs(queue: Queue) -> None:
    jobs = [submit(queue) for _ in range(4)]
    canceled, released, ended, reaped = (hold(queue) for _ in jobs)
    queue.cancel(canceled.job_id)
    queue.release(released)
    queue.finish(ended, JobStatus.FAILED)
    queue.reap("engine-1")
    for held in (canceled, released, ended, reaped):
        assert queue.begin(held, "w") is None
    statuses = [queue.fetch(job.id).status for job in jobs]
    assert statuses == ["canceled", "queued", "failed", "queued"]


def test_the_deadline_of_a_held_job_passes(queue: Queue, redis: Redis) -> None:
    job = submit(queue, deadline_s=60)
    held = hold(queue)
    redis.zadd("darkroom:deadlines", {job.id: 1})
    assert queue.expire_deadlines() == [job.id]
    assert queue.wait([engine_bell("engine-1")], 0.01), "its engine is told"
    assert queue.begin(held, "w") is None


def test_an_idle_engine_takes_what_another_only_holds(queue: Queue, redis: Redis) -> None:
    running, held, fresh = (submit(queue) for _ in range(3))
    assert claim(queue).job_id == running.id
    theirs, _ = hold(queue), hold(queue)
    redis.hset(f"rq:job:{held.id}", "dr_claimed", 1)
    assert hold(queue, "engine-2") is None, "it was not asked to"
    mine = hold(queue, "engine-2", take_from_others=True)
    assert mine.job_id == held.id
    assert hold(queue, "engine-2", take_from_others=True) is None, "the rest runs, or is fresh"
    assert queue.wait([engine_bell("engine-1")], 0.01), "the other is told"
    assert queue.begin(theirs, "w") is None
    assert theirs.token in queue.beat("engine-1", [theirs]).lost
    assert queue.begin(mine, "w").attempt == 1
    assert queue.fetch(fresh.id).status is JobStatus.QUEUED


def test_an_engine_takes_nothing_from_itself(queue: Queue, redis: Redis) -> None:
    job = submit(queue)
    held = hold(queue)
    redis.hset(f"rq:job:{job.id}", "dr_claimed", 1)
    assert hold(queue, take_from_others=True) is None
    assert queue.begin(held, "w")


def test_claimed_job_is_running_once_it_began(queue: Queue, redis: Redis) -> None:
    job = submit(queue, deadline_s=60)
    got = claim(queue)
    running = queue.fetch(job.id)
    assert (running.status, running.worker, running.attempts) == ("running", "worker-1", 1)
    assert running.queue is None
    assert running.started_at >= running.created_at
    assert (got.job_id, got.request, got.attempt, got.priority) == (job.id, REQUEST, 1, "normal")
    assert 0 <= got.queued_s < 5
    assert 50 < got.remaining_s <= 60
    assert kinds(redis, job.id) == ["status", "status"]


def test_claim_repeated_after_a_lost_reply_gets_the_same_job(queue: Queue) -> None:
    submit(queue)
    submit(queue)
    first, again = claim(queue, token="t"), claim(queue, token="t")
    assert first.job_id == again.job_id
    assert again.attempt == 1
    assert queue.queues()[0].running == 1


def test_busy_engine_leaves_young_jobs_to_others(queue: Queue, redis: Redis) -> None:
    job = submit(queue)
    assert claim(queue, min_wait_s=0.5) is None
    pass_time(redis, job.id, 0.6)
    assert claim(queue, min_wait_s=0.5).job_id == job.id


def test_a_higher_priority_goes_first_however_old_the_backlog_is(
    queue: Queue, redis: Redis
) -> None:
    low, normal, high = (submit(queue, priority=p) for p in ("low", "normal", "high"))
    pass_time(redis, low.id, 4000)
    pass_time(redis, normal.id, 3600)
    assert [claim(queue).job_id for _ in range(3)] == [high.id, normal.id, low.id]


def test_a_priority_is_passed_over_so_many_times_and_no_more(queue: Queue) -> None:
    for priority in ("low", "normal", "high"):
        for _ in range(60):
            submit(queue, priority=priority)
    taken = "".join(claim(queue).priority[0] for _ in range(60))
    assert taken.startswith("h" * 8 + "n")
    assert max(map(len, taken.split("n"))) <= 9, "eight of high priority, and one of low"
    assert max(map(len, taken.split("l"))) <= 16


def submit_long_ago(queue: Queue, seconds: float, **options: object) -> Job:
    job = submit(queue, **options)
    pass_time(queue.redis, job.id, seconds)
    return job


def test_short_jobs_go_before_long_ones(queue: Queue) -> None:
    long = submit_long_ago(queue, 10, work_s=20.0)
    short = submit_long_ago(queue, 9, work_s=1.5)
    assert [claim(queue).job_id for _ in range(2)] == [short.id, long.id]


def test_short_jobs_are_found_however_long_the_backlog_is(queue: Queue) -> None:
    for _ in range(100):
        submit(queue, work_s=20.0)
    short = submit(queue, work_s=1.5)
    assert claim(queue).job_id == short.id


def test_the_oldest_job_is_passed_over_so_many_times_and_no_more(queue: Queue) -> None:
    """Whatever comes: with p older jobs in its queue a job is claimed after 8 * (p + 1) claims."""
    long = [submit(queue, work_s=500.0).id for _ in range(3)]
    turns = []
    for turn in range(1, 3 * 8 + 1):
        submit(queue, work_s=0.1)
        if claim(queue).job_id in long:
            turns.append(turn)
    assert turns == [8, 16, 24]


def test_among_equals_the_oldest_goes_first(queue: Queue) -> None:
    jobs = [submit(queue, work_s=3.0).id for _ in range(5)]
    assert [claim(queue).job_id for _ in jobs] == jobs


@pytest.mark.parametrize("work", ["", "nan", "inf", "-3", "1e9", "0", "9" * 30])
def test_an_estimate_that_is_none_counts_for_nothing(queue: Queue, redis: Redis, work: str) -> None:
    job = submit(queue)
    redis.hset(f"rq:job:{job.id}", "dr_work", work)
    assert claim(queue).job_id == job.id


def test_models_in_memory_are_preferred_for_a_while(queue: Queue, redis: Redis) -> None:
    queues = queue_names(["other", "emoji"])
    away, here = submit(queue, model="other"), submit(queue)
    terms = {"queues": queues, "loaded": ["emoji"], "prefer_loaded_s": 30}
    pass_time(redis, away.id, 20)
    assert hold(queue, **terms).job_id == here.id
    later = submit(queue)
    pass_time(redis, away.id, 20)
    assert [hold(queue, **terms).job_id for _ in range(2)] == [away.id, later.id]


def test_models_share_by_age_and_not_by_name(queue: Queue, redis: Redis) -> None:
    queues = queue_names(["a", "b"])
    jobs = [submit(queue, model="ba"[i % 2]) for i in range(6)]
    for index, job in enumerate(jobs):
        pass_time(redis, job.id, 60 - index)
    order = [hold(queue, queues=queues, loaded=["a", "b"]).job_id for _ in jobs]
    assert order == [job.id for job in jobs]


def test_ids_that_are_no_queued_jobs_are_dropped(queue: Queue, redis: Redis) -> None:
    done = submit(queue)
    queue.finish(claim(queue), JobStatus.SUCCEEDED)
    good = submit(queue)
    redis.set("rq:job:text", "no hash")
    redis.lpush("rq:queue:emoji.normal", "gone", done.id, "text", good.id)
    redis.rpush("rq:queue:emoji.normal", good.id)
    assert claim(queue).job_id == good.id
    assert claim(queue) is None
    assert redis.llen("rq:queue:emoji.normal") == 0
    assert queue.fetch(done.id).status is JobStatus.SUCCEEDED


def test_job_past_its_deadline_is_canceled_instead_of_claimed(queue: Queue, redis: Redis) -> None:
    job, good = submit(queue, deadline_s=60), submit(queue)
    redis.hset(f"rq:job:{job.id}", "dr_deadline", 1)
    assert claim(queue).job_id == good.id
    ended = queue.fetch(job.id)
    assert (ended.status, ended.error.code) == (JobStatus.CANCELED, "deadline_exceeded")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"data": "not json"}, id="text"),
        pytest.param({"data": b"\x80\x04pickle."}, id="pickle"),
        pytest.param({"data": '["os.system", null, ["true"], {}]'}, id="function"),
        pytest.param({"data": f'["{FUNCTION}", null, [7], {{}}]'}, id="arguments"),
        pytest.param({"data": "[" * 100_000}, id="nesting"),
        pytest.param({"dr_created": "yesterday"}, id="time"),
        pytest.param({"dr_attempt": "1.5"}, id="attempt"),
        pytest.param({"dr_ticket": "x"}, id="ticket"),
        pytest.param({"dr_queued": "x"}, id="queued"),
        pytest.param({"dr_deadline": "soon"}, id="deadline"),
    ],
)
def test_job_that_cannot_be_read_fails_alone(queue: Queue, redis: Redis, damage: dict) -> None:
    bad, good = submit(queue), submit(queue)
    redis.hset(f"rq:job:{bad.id}", mapping=damage)
    assert claim(queue).job_id == good.id
    status, error = redis.hmget(f"rq:job:{bad.id}", "status", "dr_error")
    assert status == b"failed"
    assert JobError.model_validate_json(error).code == "malformed_job"
    assert redis.zscore("rq:failed:emoji.normal", bad.id)


def test_foreign_rq_job_is_failed_and_passed_over(queue: Queue, redis: Redis) -> None:
    redis.hset("rq:job:foreign", mapping={"status": "queued", "data": "?", "timeout": "x"})
    redis.rpush("rq:queue:emoji.normal", "foreign")
    good = submit(queue)
    assert claim(queue).job_id == good.id
    assert redis.hget("rq:job:foreign", "status") == b"failed"


def test_b3_of_many_who_ask_at_once_no_more_are_let_in_than_may_be(queue: Queue) -> None:
    start = threading.Barrier(4)

    def service(_: int) -> list[str]:
        start.wait()
        accepted = []
        for _ in range(5):
            with suppress(TooManyQueuedJobsError):
                accepted.append(submit(queue, owner="ann", max_queued=7).id)
        return accepted

    with ThreadPoolExecutor(4) as pool:
        accepted = [job for each in pool.map(service, range(4)) for job in each]
    assert len(set(accepted)) == 7


def test_threads_never_claim_the_same_job(queue: Queue) -> None:
    jobs = {submit(queue).id for _ in range(60)}
    start = threading.Barrier(4)

    def engine(name: str) -> list[str]:
        start.wait()
        return [got.job_id for got in iter(lambda: claim(queue, name), None)]

    with ThreadPoolExecutor(4) as pool:
        claimed = Counter(job for got in pool.map(engine, "abcd") for job in got)
    assert claimed == Counter(jobs)


# Beat


def test_beat_extends_the_leases(queue: Queue, redis: Redis) -> None:
    submit(queue)
    got = claim(queue)
    end_all_leases(queue)
    assert queue.beat("engine-1", [got]).lost == frozenset()
    assert redis.zscore("darkroom:leases", got.job_id) > time.time() + 5
    assert queue.reap() == 0


def test_beat_tells_what_was_lost_and_what_was_canceled(queue: Queue) -> None:
    jobs = [submit(queue) for _ in range(4)]
    kept, lost, canceled, done = (claim(queue) for _ in jobs)
    queue.release(lost)
    queue.cancel(canceled.job_id)
    queue.finish(done, JobStatus.SUCCEEDED)
    held = queue.beat("engine-1", [kept, lost, canceled, done])
    assert held.lost == {lost.token, canceled.token}
    assert held.canceled == {canceled.token}
    assert held.forgotten == frozenset()


def test_lost_claim_is_not_revived_by_a_beat(queue: Queue) -> None:
    submit(queue)
    old = claim(queue, "engine-1")
    end_all_leases(queue)
    queue.reap()
    new = claim(queue, "engine-2")
    assert queue.beat("engine-1", [old]).lost == {old.token}
    assert queue.beat("engine-2", [new]).lost == frozenset()


def test_forgotten_job_is_queued_again_without_charge(queue: Queue) -> None:
    job = submit(queue)
    claim(queue)
    assert queue.beat("engine-1", []).forgotten == frozenset(), "its answer may be on the way"
    end_all_leases(queue)
    assert queue.beat("engine-2", []).forgotten == frozenset()
    assert queue.beat("engine-1", []).forgotten == frozenset(), "this may be older than the claim"
    assert queue.beat("engine-1", []).forgotten == {job.id}
    back = queue.fetch(job.id)
    assert (back.status, back.attempts) == (JobStatus.QUEUED, 0)


# Progress


def test_progress_shows_in_the_job_and_as_an_event(queue: Queue, redis: Redis) -> None:
    submit(queue)
    got = claim(queue)
    progress = Progress(stage="denoise", step=3, steps=10, ratio=0.3, eta_s=1.5)
    assert all(queue.tell([News(got, progress)]))
    assert queue.fetch(got.job_id).progress == progress
    assert kinds(redis, got.job_id)[-1] == "progress"


def test_progress_of_a_lost_claim_is_refused(queue: Queue) -> None:
    submit(queue)
    old = claim(queue)
    queue.release(old)
    assert not any(queue.tell([News(old, Progress(stage="denoise"))]))
    assert queue.fetch(old.job_id).progress is None


# What was not known at first


def test_what_was_filled_in_shows_and_holds_for_the_next_attempt(queue: Queue) -> None:
    submit(queue)
    first = claim(queue)
    whole = {**first.request, "width": 640}
    assert queue.complete(first, whole)
    assert queue.fetch(first.job_id).request == whole
    queue.reap("engine-1")
    assert not queue.complete(first, {})
    second = claim(queue)
    assert second.request == queue.fetch(first.job_id).request == whole
    queue.finish(second, JobStatus.SUCCEEDED, request={**whole, "height": 8})
    assert queue.fetch(first.job_id).request == {**whole, "height": 8}


# Times


def test_times_add_up_over_attempts(queue: Queue) -> None:
    submit(queue, warnings=["first"])
    first = claim(queue)
    assert (first.spent, first.warnings) == ({}, ("first",))
    queue.tell([News(first, Progress(stage="denoise"), {"load": 0.5, "denoise": 2.0})])
    queue.reap("engine-1")
    second = claim(queue)
    assert second.spent == {"load": 0.5, "denoise": 2.0}
    assert second.queued_s == 0  # it did not take so long: not less than nothing
    queue.release(second, {"load": 3.0, "denoise": 2.0})
    assert claim(queue).spent == {"load": 3.0, "denoise": 2.0}


def test_a_job_that_no_engine_ended_has_times_as_well(queue: Queue) -> None:
    canceled = queue.cancel(submit(queue).id)
    seconds = (canceled.finished_at - canceled.created_at).total_seconds()
    assert canceled.timings.total == pytest.approx(seconds, abs=0.001)
    assert canceled.timings.queued == canceled.timings.total
    running = submit(queue)
    queue.tell([News(claim(queue), Progress(stage="load"), {"load": 0.0})])
    ended = queue.cancel(running.id).timings
    assert (ended.load, ended.queued, ended.denoise) == (0.0, ended.total, None)


@pytest.mark.parametrize(
    "spent", ["", "{", "[1]", '{"load": "x"}', '{"load": -5}', '{"total": 9}', '{"load": 1e999}']
)
def test_times_that_darkroom_did_not_write_count_for_nothing(
    queue: Queue, redis: Redis, spent: str
) -> None:
    job = submit(queue)
    redis.hset(f"rq:job:{job.id}", "dr_spent", spent)
    assert claim(queue).spent == {}


def test_the_last_news_come_before_the_pictures(queue: Queue, redis: Redis) -> None:
    submit(queue)
    got = claim(queue)
    news = [Progress(stage=stage) for stage in ("decode", "save")]
    queue.finish(got, JobStatus.SUCCEEDED, images=[image()], news=news)
    assert kinds(redis, got.job_id)[2:] == ["progress", "progress", "image", "done"]


# Finish


def test_finished_job_holds_its_result(queue: Queue, redis: Redis) -> None:
    submit(queue, warnings=["first"])
    got, images = claim(queue), [image(), image()]
    timings = Timings(queued=0.1, denoise=2.5)
    last = Progress(stage="save", step=9, steps=9, ratio=1)
    result = {"images": images, "timings": timings, "memory": "tiled", "progress": last}
    answer = queue.finish(got, JobStatus.SUCCEEDED, warnings=["second"], **result)
    assert answer == "committed"
    job = queue.fetch(got.job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.model_dump(include=set(result)) == Job.model_construct(**result).model_dump(
        include=set(result)
    )
    assert job.warnings == ["first", "second"]
    assert (job.expires_at - job.finished_at).days == 7
    assert kinds(redis, job.id) == ["status", "status", "image", "image", "done"]


def test_failed_job_holds_its_error(queue: Queue) -> None:
    submit(queue)
    got, error = claim(queue), JobError(code="unsupported", message='no "such" thing\n')
    queue.finish(got, JobStatus.FAILED, error=error)
    job = queue.fetch(got.job_id)
    assert (job.status, job.error) == (JobStatus.FAILED, error)
    assert queue.counters()["finished", "emoji", "failed", "unsupported"] == 1


def test_finish_repeated_after_a_lost_reply_answers_already(queue: Queue, redis: Redis) -> None:
    submit(queue)
    got = claim(queue)
    answers = [queue.finish(got, s) for s in (JobStatus.SUCCEEDED, JobStatus.FAILED)]
    assert answers == ["committed", "already"]
    assert queue.fetch(got.job_id).status is JobStatus.SUCCEEDED
    assert kinds(redis, got.job_id).count("done") == 1
    assert queue.counters()["finished", "emoji", "succeeded", ""] == 1


def test_engine_without_lease_commits_nothing(queue: Queue) -> None:
    submit(queue)
    old = claim(queue, "engine-1")
    end_all_leases(queue)
    queue.reap()
    assert queue.finish(old, JobStatus.SUCCEEDED, images=[image()]) == "fenced"
    assert queue.fetch(old.job_id).status is JobStatus.QUEUED
    new = claim(queue, "engine-2")
    assert queue.finish(old, JobStatus.SUCCEEDED, images=[image()]) == "fenced"
    assert queue.finish(new, JobStatus.FAILED) == "committed"
    assert queue.finish(old, JobStatus.SUCCEEDED, images=[image()]) == "fenced"
    job = queue.fetch(old.job_id)
    assert (job.status, job.images) == (JobStatus.FAILED, [])
    assert queue.counters()[("fenced",)] == 3


def test_expired_lease_commits_while_nobody_took_the_job(queue: Queue) -> None:
    submit(queue)
    got = claim(queue)
    end_all_leases(queue)
    assert queue.finish(got, JobStatus.SUCCEEDED) == "committed"
    assert queue.reap() == 0


def test_only_terminal_statuses_end_a_job(queue: Queue) -> None:
    submit(queue)
    with pytest.raises(ValueError, match="queued"):
        queue.finish(claim(queue), JobStatus.QUEUED)


# Release and reap


def test_released_job_goes_to_the_head_without_charge(queue: Queue, redis: Redis) -> None:
    first, second = submit(queue), submit(queue)
    got = claim(queue)
    assert queue.release(got)
    assert queue.release(got), "a repeat after a lost reply answers the same"
    ids = [job_id.decode() for job_id in redis.lrange("rq:queue:emoji.normal", 0, -1)]
    assert ids == [first.id, second.id]
    back = queue.fetch(first.id)
    assert (back.status, back.attempts, back.worker) == (JobStatus.QUEUED, 0, None)
    assert back.started_at is None
    assert claim(queue).attempt == 1


def test_release_of_a_lost_claim_changes_nothing(queue: Queue) -> None:
    submit(queue)
    old = claim(queue, "engine-1")
    queue.reap("engine-1")
    new = claim(queue, "engine-2")
    assert not queue.release(old)
    assert queue.finish(new, JobStatus.SUCCEEDED) == "committed"
    assert not queue.release(new)


def asked_before(redis: Redis, seconds: float) -> None:
    """As if leases had last been asked for so long before."""
    asked = float(redis.hget("darkroom:reaping", "asked"))
    redis.hset("darkroom:reaping", "asked", asked - seconds)


@pytest.mark.parametrize("away_s", [6, 16, 3600, -3600])
def test_an_outage_costs_no_lease(queue: Queue, redis: Redis, away_s: float) -> None:
    """Redis was away or stopped, or its clock jumped: an engine gets the time to be heard."""
    submit(queue)
    got = claim(queue)
    assert queue.reap() == 0
    end_all_leases(queue)
    asked_before(redis, away_s)
    assert queue.reap() == 0
    asked_before(redis, 4)
    assert queue.reap() == 0
    assert not queue.beat("engine-1", [got]).lost
    for _ in range(3):
        asked_before(redis, 4)
        assert queue.reap() == 0
    assert float(redis.hget("darkroom:reaping", "left")) == 0
    assert queue.fetch(got.job_id).attempts == 1


def test_after_an_outage_the_dead_are_found_after_a_lease(queue: Queue, redis: Redis) -> None:
    submit(queue)
    claim(queue)
    assert queue.reap() == 0
    end_all_leases(queue)
    asked_before(redis, 3600)
    reaped = []
    for _ in range(6):
        reaped.append(queue.reap())
        asked_before(redis, 3)
    assert reaped == [0, 0, 0, 0, 1, 0]


def test_a_keeper_that_is_slow_finds_the_dead_too(queue: Queue, redis: Redis) -> None:
    submit(queue)
    claim(queue)
    assert queue.reap() == 0
    end_all_leases(queue)
    reaped = []
    for _ in range(4):
        asked_before(redis, 8)
        reaped.append(queue.reap())
    assert reaped == [0, 0, 1, 0]


def test_a_clock_put_back_leaves_no_endless_lease(queue: Queue, redis: Redis) -> None:
    submit(queue)
    got = claim(queue)
    ends = redis.zscore("darkroom:leases", got.job_id)
    redis.zadd("darkroom:leases", {got.job_id: ends + 3600})
    queue.reap()
    assert redis.zscore("darkroom:leases", got.job_id) < ends + 60


def test_the_supervisor_of_a_dead_engine_need_not_wait(queue: Queue, redis: Redis) -> None:
    submit(queue)
    claim(queue)
    queue.reap()
    asked_before(redis, 3600)
    assert queue.reap("engine-1") == 1


def test_reaped_jobs_go_to_the_head_in_their_order(queue: Queue, redis: Redis) -> None:
    jobs = [submit(queue).id for _ in range(4)]
    for _ in range(3):
        claim(queue)
    assert queue.reap() == 0, "their leases have not ended"
    end_all_leases(queue)
    assert (queue.reap(), queue.reap()) == (3, 0)
    assert [i.decode() for i in redis.lrange("rq:queue:emoji.normal", 0, -1)] == jobs
    again = claim(queue)
    assert (again.job_id, again.attempt, again.must_run_alone) == (jobs[0], 2, False)


def test_reap_of_a_dead_engine_leaves_the_others(queue: Queue) -> None:
    for _ in range(2):
        submit(queue)
    dead, living = claim(queue, "dead"), claim(queue, "living")
    assert (queue.reap("dead"), queue.reap("dead")) == (1, 0)
    assert queue.fetch(dead.job_id).status is JobStatus.QUEUED
    assert queue.fetch(living.job_id).status is JobStatus.RUNNING


def test_many_expired_leases_are_reaped_in_one_call(queue: Queue) -> None:
    for _ in range(230):
        submit(queue)
        claim(queue)
    end_all_leases(queue)
    assert queue.reap() == 230
    assert queue.queues()[0].queued == 230


def test_job_that_kills_its_engines_fails_as_poison(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=3))
    job, alone = submit(queue), []
    for _ in range(3):
        alone.append(claim(queue).must_run_alone)
        queue.reap("engine-1")
    assert alone == [False, False, True]
    ended = queue.fetch(job.id)
    assert (ended.status, ended.error.code, ended.attempts) == (JobStatus.FAILED, "poison", 3)
    assert claim(queue) is None


def test_a_job_whose_engines_die_where_it_runs_alone_rests_longer_each_time(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=9, lease_s=60))
    job, rests = submit(queue), []
    for _ in range(8):
        assert claim(queue).job_id == job.id
        queue.reap("engine-1")
        until = float(redis.hget(f"rq:job:{job.id}", "dr_rests_until") or 0)
        rests.append(round(max(until - time.time(), 0) / 60, 1))
        if until:
            assert claim(queue) is None
            redis.hset(f"rq:job:{job.id}", "dr_rests_until", time.time() - 0.001)
    assert rests == [0, 0, 1, 2, 4, 8, 8, 8]


def kill_over(queue: Queue, redis: Redis, job: Job, engine: str = "engine-1") -> None:
    """Let an engine die at work on this job, the next in turn, as soon as it has rested."""
    redis.hdel(f"rq:job:{job.id}", "dr_rests_until")
    got = claim(queue, engine)
    assert got.job_id == job.id
    queue.reap(engine, at_work=[got.token])


def test_a_suspect_is_not_charged_while_engines_die_over_others_too(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=3))
    suspect = submit(queue)
    for _ in range(2):
        kill_over(queue, redis, suspect)
    for excused in range(EXCUSES + 1):
        told = queue.fetch(suspect.id)
        assert (told.status, told.attempts) == (JobStatus.QUEUED, 2)
        if excused:
            assert claim(queue) is None, "it rests"
        redis.hset(f"rq:job:{suspect.id}", "dr_rests_until", time.time() + 15)
        innocent = submit(queue)
        kill_over(queue, redis, innocent, "engine-2")
        queue.cancel(innocent.id)
        kill_over(queue, redis, suspect)
    assert queue.fetch(suspect.id).error.code == "poison", "so often and no more"


def test_two_suspects_are_no_excuse_for_one_another(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=4))
    first = submit(queue)
    for _ in range(2):
        kill_over(queue, redis, first)
    second = submit(queue, priority="high")
    for _ in range(2):
        kill_over(queue, redis, second)
    redis.hset(f"rq:job:{first.id}", "dr_died", time.time() + 0.001)
    for _ in range(2):
        kill_over(queue, redis, second)
        redis.hset(f"rq:job:{second.id}", "dr_rests_until", time.time() + 15)
        kill_over(queue, redis, first)
    assert {queue.fetch(job.id).error.code for job in (first, second)} == {"poison"}


def test_who_comes_after_a_job_that_rests_goes_before_it(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=9, lease_s=60))
    suspect = submit(queue)
    for _ in range(3):
        claim(queue)
        queue.reap("engine-1")
    other = submit(queue)
    assert claim(queue).job_id == other.id
    assert queue.fetch(suspect.id).status is JobStatus.QUEUED


def test_a_clock_put_back_by_an_hour_lets_nobody_rest_longer(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=9, lease_s=60))
    job = submit(queue)
    for _ in range(3):
        claim(queue)
        queue.reap("engine-1")
    redis.hset(f"rq:job:{job.id}", "dr_rests_until", time.time() + 3600)
    assert claim(queue).job_id == job.id


def test_only_what_a_dead_engine_was_at_work_on_is_charged(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=1))
    jobs = [submit(queue) for _ in range(4)]
    guilty, parked, other = (claim(queue) for _ in range(3))
    hold(queue)
    assert queue.reap("engine-1", at_work=[guilty.token]) == 4
    states = [queue.fetch(job.id) for job in jobs]
    assert [(job.status, job.attempts) for job in states] == [
        ("failed", 1),
        ("queued", 0),
        ("queued", 0),
        ("queued", 0),
    ]
    assert states[0].error.code == "poison"
    assert [claim(queue).job_id for _ in range(3)] == [parked.job_id, other.job_id, jobs[3].id]


def test_an_engine_that_was_at_work_on_nothing_charges_nobody(queue: Queue) -> None:
    submit(queue)
    for _ in range(9):
        got = claim(queue)
        queue.reap("engine-1", at_work=[])
    assert queue.fetch(got.job_id).attempts == 0


def test_a_lease_that_ends_charges_what_had_begun(queue: Queue) -> None:
    begun, held = submit(queue), submit(queue)
    claim(queue)
    hold(queue)
    end_all_leases(queue)
    assert queue.reap() == 2
    assert (queue.fetch(begun.id).attempts, queue.fetch(held.id).attempts) == (1, 0)


def test_claim_refuses_what_rq_tools_requeued_too_often(queue: Queue, redis: Redis) -> None:
    job, good = submit(queue), submit(queue)
    redis.hset(f"rq:job:{job.id}", "dr_attempt", 5)
    assert claim(queue).job_id == good.id
    assert queue.fetch(job.id).error.code == "poison"


# Cancel and delete


def test_canceled_queued_job_leaves_the_queue(queue: Queue, redis: Redis) -> None:
    job = submit(queue, deadline_s=60)
    canceled = queue.cancel(job.id)
    assert (canceled.status, canceled.queue, canceled.error) == (JobStatus.CANCELED, None, None)
    assert queue.cancel(job.id) == canceled
    assert redis.zcard("darkroom:deadlines") == redis.llen("rq:queue:emoji.normal") == 0
    assert claim(queue) is None
    assert kinds(redis, job.id) == ["status", "done"]


def test_canceled_running_job_rings_its_engine(queue: Queue) -> None:
    submit(queue)
    got = claim(queue)
    assert queue.cancel(got.job_id).status is JobStatus.CANCELED
    assert queue.wait([engine_bell("engine-1")], 0.01) == engine_bell("engine-1")
    assert queue.finish(got, JobStatus.SUCCEEDED) == "fenced"
    assert queue.fetch(got.job_id).status is JobStatus.CANCELED


def test_ended_job_cannot_be_canceled(queue: Queue) -> None:
    submit(queue)
    got = claim(queue)
    queue.finish(got, JobStatus.SUCCEEDED)
    assert queue.cancel(got.job_id).status is JobStatus.SUCCEEDED


def test_unknown_jobs_are_not_found(queue: Queue, redis: Redis) -> None:
    redis.hset("rq:job:foreign", mapping={"status": "queued", "data": "[]"})
    for job_id in ("job_0", "foreign", "", "x" * 10_000, "a:b*\x00"):
        for method in (queue.fetch, queue.cancel, queue.delete):
            with pytest.raises(JobNotFoundError):
                method(job_id)
    assert redis.hget("rq:job:foreign", "status") == b"queued"


def test_deleted_job_is_gone_with_all_its_traces(queue: Queue, redis: Redis) -> None:
    before = set(redis.keys())
    job, images = submit(queue, owner="ann"), [image()]
    queue.finish(claim(queue), JobStatus.SUCCEEDED, images=images)
    assert queue.delete(job.id) == [images[0].id]
    with pytest.raises(JobNotFoundError):
        queue.fetch(job.id)
    left = {key.decode() for key in set(redis.keys()) - before}
    shared = {"rq:queues", "darkroom:queues", "darkroom:ticket", "darkroom:counters"}
    shared |= {"darkroom:credits", "darkroom:turns:emoji.normal"}
    shared |= {stream_of(None), stream_of("ann")}  # for an hour at most
    shared |= {key for key in left if key.startswith("darkroom:gpu:ann|")}  # what the day has cost
    bells = {queue_bell("emoji"), room_bell("engine-1")}
    assert left == {*shared, "darkroom:kept_bytes", *bells}
    assert redis.get("darkroom:kept_bytes") == b"0"


def test_deleted_running_job_is_taken_from_its_engine(queue: Queue) -> None:
    submit(queue)
    got = claim(queue)
    assert queue.delete(got.job_id) == []
    assert queue.wait([engine_bell("engine-1")], 0.01)
    assert queue.beat("engine-1", [got]).lost == {got.token}
    assert queue.finish(got, JobStatus.SUCCEEDED) == "fenced"
    with pytest.raises(JobNotFoundError):
        queue.fetch(got.job_id)


# What time drives


def test_queued_jobs_past_their_deadline_are_canceled(queue: Queue, redis: Redis) -> None:
    running, late, early = (submit(queue, deadline_s=s) for s in (0, 50, 0))
    redis.hdel(f"rq:job:{running.id}", "dr_deadline")
    claim(queue)
    assert queue.expire_deadlines() == [early.id]
    assert queue.expire_deadlines() == []
    ended = queue.fetch(early.id)
    assert (ended.status, ended.error.code) == (JobStatus.CANCELED, "deadline_exceeded")
    assert queue.fetch(late.id).status is JobStatus.QUEUED
    assert queue.fetch(running.id).status is JobStatus.RUNNING


def test_deadline_holds_again_when_a_job_is_given_back(queue: Queue, redis: Redis) -> None:
    job = submit(queue, deadline_s=50)
    got = claim(queue)
    assert redis.zscore("darkroom:deadlines", job.id) is None
    queue.release(got)
    assert redis.zscore("darkroom:deadlines", job.id) == pytest.approx(
        got.remaining_s + job.created_at.timestamp(), abs=1
    )


def test_job_past_its_retention_is_expired(queue: Queue, redis: Redis) -> None:
    submit(queue)
    young = submit(queue)
    got, images = claim(queue), [image()]
    queue.finish(got, JobStatus.SUCCEEDED, images=images)
    queue.cancel(young.id)
    redis.zadd("darkroom:expiries", {got.job_id: 1})
    redis.hset(f"rq:job:{got.job_id}", "dr_expires", 1)
    for _ in range(2):  # before and after the sweep
        with pytest.raises(ExpiredError):
            queue.fetch(got.job_id)
        with pytest.raises(ExpiredError):
            queue.cancel(got.job_id)
        assert [job.id for job in queue.page().jobs] == [young.id]
        queue.sweep_retention()
    assert redis.zscore("rq:finished:emoji.normal", got.job_id) is None
    assert redis.exists(f"rq:job:{got.job_id}") == 0


@pytest.mark.parametrize(
    ("ttl_s", "finished_s", "canceled_s"),
    [
        (None, 7 * 86400, 86400),
        (60, 60, 60),
        (2 * 86400, 2 * 86400, 86400),
        (10**8, 7 * 86400, 86400),
    ],
)
def test_a_job_is_kept_for_no_longer_than_its_client_asked(
    queue: Queue, redis: Redis, ttl_s: int | None, finished_s: int, canceled_s: int
) -> None:
    queue.submit({}, model="emoji", ttl_s=ttl_s)
    got = claim(queue)
    queue.finish(got, JobStatus.SUCCEEDED)
    gone = queue.submit({}, model="emoji", ttl_s=ttl_s).job
    assert gone.ttl_s == ttl_s
    for job, kept_s in ((queue.fetch(got.job_id), finished_s), (queue.cancel(gone.id), canceled_s)):
        assert (job.expires_at - job.finished_at).total_seconds() == pytest.approx(kept_s, abs=0.01)
        assert redis.ttl(f"darkroom:events:{job.id}") <= kept_s


def test_sweep_returns_the_images_once(queue: Queue, redis: Redis) -> None:
    expected = {}
    for _ in range(120):
        submit(queue)
        got, one = claim(queue), image()
        queue.finish(got, JobStatus.SUCCEEDED, images=[one])
        redis.zadd("darkroom:expiries", {got.job_id: 1})
        expected[got.job_id] = [one.id]
    assert queue.sweep_retention() == expected
    assert queue.sweep_retention() == {}


def test_ended_jobs_expire_even_without_a_keeper(queue: Queue, redis: Redis) -> None:
    job = submit(queue)
    assert redis.ttl(f"rq:job:{job.id}") == -1
    queue.cancel(job.id)
    assert 7 * 86400 < redis.ttl(f"rq:job:{job.id}") < 40 * 86400


def test_canceled_jobs_are_kept_for_a_shorter_time(queue: Queue) -> None:
    canceled = queue.cancel(submit(queue).id)
    submit(queue)
    got = claim(queue)
    queue.finish(got, JobStatus.SUCCEEDED)
    assert (canceled.expires_at - canceled.finished_at).total_seconds() == 86400
    done = queue.fetch(got.job_id)
    assert (done.expires_at - done.finished_at).total_seconds() == 7 * 86400


def test_more_ended_jobs_than_may_be_kept_go_by_the_time_they_had_left(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_kept_jobs=3))
    pictures = {}
    for _ in range(4):
        submit(queue)
        got, one = claim(queue), image()
        queue.finish(got, JobStatus.SUCCEEDED, images=[one])
        pictures[got.job_id] = [one.id]
    canceled = [queue.cancel(submit(queue).id).id for _ in range(2)]
    waiting = submit(queue)
    oldest = next(iter(pictures))
    # A loop of submit and cancel takes nobody's pictures away before its own jobs are gone.
    assert queue.sweep_retention() == {canceled[0]: [], canceled[1]: [], oldest: pictures[oldest]}
    assert queue.sweep_retention() == {}
    assert len(queue.page().jobs) == 4
    assert queue.fetch(waiting.id).status is JobStatus.QUEUED
    with pytest.raises(ExpiredError):
        queue.fetch(oldest)


def test_ended_jobs_are_kept_within_a_number_of_bytes(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_kept_mb=1))
    before = redis.info("memory")["used_memory"]
    for _ in range(200):
        queue.cancel(submit(queue, {"prompt": "\U0001f600" * 4000}).id)
    assert redis.info("memory")["used_memory"] - before > 3 * 2**20
    gone = queue.sweep_retention()
    assert 100 < len(gone) < 200
    assert redis.info("memory")["used_memory"] - before < 1.5 * 2**20
    for job in queue.page(limit=100).jobs:
        queue.delete(job.id)
    assert redis.get("darkroom:kept_bytes") == b"0"
    assert redis.exists("darkroom:sizes") == 0


def test_what_goes_takes_its_idempotency_key_along(queue: Queue, redis: Redis) -> None:
    first = submit(queue, idempotency_key="k", fingerprint="f")
    queue.cancel(first.id)
    queue.delete(first.id)
    assert redis.keys("darkroom:idem:*") == []
    again = submit(queue, idempotency_key="k", fingerprint="other")
    assert again.id != first.id
    # The key of a job that is long gone may be another job's by now.
    redis.hset(f"rq:job:{submit(queue).id}", "dr_idem", redis.keys("darkroom:idem:*")[0])
    for job in queue.page().jobs:
        if job.id != again.id:
            queue.delete(job.id)
    assert len(redis.keys("darkroom:idem:*")) == 1


def test_the_names_of_gone_jobs_are_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lua, "MAX_TOMBSTONES", 2)
    queue = Queue(redis, Rules(max_kept_jobs=1))
    ids = [queue.cancel(submit(queue).id).id for _ in range(4)]
    queue.sweep_retention()
    assert redis.zcard("darkroom:gone") == 2
    with pytest.raises(JobNotFoundError):
        queue.fetch(ids[0])
    with pytest.raises(ExpiredError):
        queue.fetch(ids[2])
    redis.zadd("darkroom:gone", {ids[1]: 1})
    queue.sweep_retention()
    with pytest.raises(JobNotFoundError):
        queue.fetch(ids[1])


def test_a_gone_job_is_known_to_its_owner_alone(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lua, "MAX_TOMBSTONES", 2)
    queue = Queue(redis, Rules(max_kept_jobs=1))
    ids = [queue.cancel(submit(queue, owner=owner).id).id for owner in ("", "ann", "ann", "ann")]
    queue.sweep_retention()
    with pytest.raises(ExpiredError):
        queue.fetch(ids[2], owner="ann")
    for job_id, owner in ((ids[2], "bob"), (ids[2], ""), (ids[0], "ann")):
        with pytest.raises(JobNotFoundError):
            queue.fetch(job_id, owner=owner)
    owners = {name.decode(): owner for name, owner in redis.hgetall("darkroom:gone_owners").items()}
    assert owners == {ids[1]: b"ann", ids[2]: b"ann"}
    redis.zadd("darkroom:gone", {ids[1]: 1})
    queue.sweep_retention()
    assert redis.hkeys("darkroom:gone_owners") == [ids[2].encode()]


def test_every_character_is_stored_as_itself(queue: Queue, redis: Redis) -> None:
    text = "\U0001f600 é"
    job = submit(queue, {"prompt": text}, tags=[text], metadata={"k": text}, warnings=[text])
    stored = b"".join(redis.hgetall(f"rq:job:{job.id}").values())
    assert stored.count(text.encode()) == 4
    assert b"\\u" not in stored
    assert (job.request["prompt"], job.tags, job.metadata["k"]) == (text, [text], text)


# Listing


def test_list_pages_newest_first(queue: Queue) -> None:
    jobs = [submit(queue).id for _ in range(7)][::-1]
    pages, cursor = [], None
    while True:
        page = queue.page(limit=3, cursor=cursor)
        pages.append([job.id for job in page.jobs])
        cursor = page.next_cursor
        submit(queue)  # new jobs do not shift the pages
        if cursor is None:
            break
    assert [job for page in pages for job in page] == jobs
    assert [len(page) for page in pages] == [3, 3, 1]


@pytest.mark.parametrize("count", [3, 6])
def test_the_last_page_leads_nowhere(queue: Queue, count: int) -> None:
    for number in range(2 * count):
        submit(queue, tags=["x"] if number % 2 else [])
    cursor = None
    for _ in range(count // 3):
        page = queue.page(tag="x", limit=3, cursor=cursor)
        assert len(page.jobs) == 3
        cursor = page.next_cursor
    assert cursor is None


def test_pages_are_bounded_by_bytes_too(queue: Queue) -> None:
    fat = {"prompt": "x" * 300_000}
    jobs = [submit(queue, fat).id for _ in range(9)][::-1]
    pages, cursor = [], ""
    while cursor is not None:
        page = queue.page(limit=100, cursor=cursor or None)
        pages.append([job.id for job in page.jobs])
        cursor = page.next_cursor
    assert [len(page) for page in pages] == [4, 4, 1]
    assert [job for page in pages for job in page] == jobs


def test_list_filters(queue: Queue) -> None:
    a = submit(queue, tags=["x", "y"])
    b = submit(queue, model="other", tags=["y"])
    c = submit(queue)
    queue.cancel(c.id)

    def ids(**filters: object) -> list[str]:
        return [job.id for job in queue.page(**filters).jobs]

    assert ids() == [c.id, b.id, a.id]
    assert ids(status=JobStatus.QUEUED) == [b.id, a.id]
    assert ids(status=JobStatus.CANCELED) == [c.id]
    assert ids(model="other") == [b.id]
    assert ids(tag="y") == [b.id, a.id]
    assert ids(tag="y", model="emoji", status=JobStatus.QUEUED) == [a.id]
    assert ids(tag="z") == []


def test_list_refuses_cursors_it_never_gave_out(queue: Queue) -> None:
    for cursor in ("x", "", "1 2", "+inf", "1e3"):
        with pytest.raises(ValueError, match="cursor"):
            queue.page(cursor=cursor)


def fill(queue: Queue, redis: Redis, count: int) -> None:
    """So many jobs of no tag, the newest of all."""
    fields = redis.hgetall(f"rq:job:{submit(queue).id}")
    first = int(redis.get("darkroom:ticket"))
    with redis.pipeline() as pipe:
        for ticket in range(first + 1, first + 1 + count):
            pipe.zadd("darkroom:jobs", {f"job_{ticket}": ticket})
            pipe.hset(f"rq:job:job_{ticket}", mapping=fields)
        pipe.set("darkroom:ticket", first + count)
        pipe.execute()


def test_a_page_is_never_empty_while_more_follow(queue: Queue, redis: Redis) -> None:
    oldest = submit(queue, tags=["rare"]).id
    fill(queue, redis, 6000)
    newer = [submit(queue, tags=["rare"]).id for _ in range(2)]
    fill(queue, redis, 6000)
    page = queue.page(tag="rare")
    assert page.jobs
    found, pages = [job.id for job in page.jobs], 1
    while page.next_cursor:
        page = queue.page(tag="rare", cursor=page.next_cursor)
        assert page.jobs
        found += [job.id for job in page.jobs]
        pages += 1
    assert found == [*newer[::-1], oldest]
    assert pages < 4
    none = queue.page(tag="nothing")
    assert (none.jobs, none.next_cursor) == ([], None)


def test_no_page_consists_of_what_nobody_can_read(queue: Queue, redis: Redis) -> None:
    oldest = submit(queue)
    for _ in range(5):
        redis.hset(f"rq:job:{submit(queue).id}", "data", "[]")
    page = queue.page(limit=2)
    assert ([job.id for job in page.jobs], page.next_cursor) == ([oldest.id], None)


# Queues and bells


def test_queues_tell_what_waits_and_runs(queue: Queue, redis: Redis) -> None:
    for _ in range(3):
        submit(queue)
    submit(queue, model="other", priority="low")
    claim(queue)
    redis.sadd("rq:workers:emoji.normal", "rq:worker:living", "rq:worker:dead")
    redis.hset("rq:worker:living", "pid", 1)
    emoji, other = queue.queues()
    assert (emoji.name, emoji.queued, emoji.running, emoji.workers) == ("emoji.normal", 2, 1, 1)
    assert (other.name, other.queued, other.running, other.workers) == ("other.low", 1, 0, 0)
    assert 0 < emoji.oldest_age_s < 5


def test_queues_tell_how_much_work_there_is(queue: Queue, redis: Redis) -> None:
    for work_s in (10, 5, 2):
        submit(queue, work_s=work_s)
    submit(queue)
    waits_in_rq_alone = submit(queue, work_s=30).id
    redis.zrem("darkroom:work:emoji.normal", waits_in_rq_alone)
    assert queue.queues()[0].backlog_s == 10 + 5 + 2 + 1 + 1
    runs = claim(queue)  # the one without an estimate
    hold(queue)  # that of 2 s
    assert queue.queues()[0].backlog_s == 10 + 5 + 2 + 1 + 1
    queue.tell([News(runs, Progress(stage="denoise", ratio=0.75))])
    assert queue.queues()[0].backlog_s == 10 + 5 + 2 + 0.25 + 1
    redis.hset(f"rq:job:{runs.job_id}", "dr_progress", '{"ratio": [')
    assert queue.queues()[0].backlog_s == 10 + 5 + 2 + 1 + 1
    queue.finish(runs, JobStatus.SUCCEEDED)
    assert queue.queues()[0].backlog_s == 10 + 5 + 2 + 1


def test_bell_rings_when_a_job_is_queued(queue: Queue) -> None:
    bells = [engine_bell("engine-1"), queue_bell("emoji")]
    assert queue.wait(bells, 0.01) is None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(queue.wait, bells, 4)
        submit(queue)
        assert waiting.result(4) == queue_bell("emoji")
    queue.release(claim(queue))
    assert queue.wait(bells, 0.01) == queue_bell("emoji")
    claim(queue)
    queue.reap("engine-1")
    assert queue.wait(bells, 0.01) == queue_bell("emoji")


def test_a_bell_that_was_rung_is_heard_once_and_not_for_ever(queue: Queue, redis: Redis) -> None:
    queue.ring(engine_bell("engine-1"))
    assert 0 < redis.ttl(engine_bell("engine-1")) <= 60
    assert queue.wait([engine_bell("engine-1")], 0.01) == engine_bell("engine-1")
    assert queue.wait([engine_bell("engine-1")], 0.01) is None


def test_bells_nobody_hears_stay_small(queue: Queue, redis: Redis) -> None:
    for _ in range(100):
        submit(queue)
    assert redis.llen(queue_bell("emoji")) == 64
    assert 0 < redis.ttl(queue_bell("emoji")) <= 60


# Faults


def test_full_redis_refuses_new_jobs_and_lets_accepted_ones_end(queue: Queue, redis: Redis) -> None:
    for _ in range(4):
        submit(queue)
    done, back, kept = (claim(queue) for _ in range(3))
    keys = redis.dbsize()
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailableError):
            submit(queue, owner="new", deadline_s=5, idempotency_key="k")
        assert redis.dbsize() == keys
        assert queue.beat("engine-1", [done, back, kept]).lost == frozenset()
        assert queue.finish(done, JobStatus.SUCCEEDED, images=[image()]) == "committed"
        assert queue.release(back)
        assert queue.cancel(kept.job_id).status is JobStatus.CANCELED
        assert claim(queue, queues=["emoji.normal"]).job_id == back.job_id
    finally:
        redis.config_set("maxmemory", 0)
    assert queue.fetch(done.job_id).status is JobStatus.SUCCEEDED


def test_everything_says_so_when_redis_is_away(tmp_path) -> None:
    with connect(f"unix://{tmp_path}/nothing") as nowhere:
        queue = Queue(nowhere)
        calls = [
            lambda: submit(queue),
            lambda: claim(queue),
            lambda: queue.beat("e", []),
            lambda: queue.wait(["bell"], 0.1),
            queue.reap,
            queue.page,
            queue.counters,
        ]
        for call in calls:
            with pytest.raises(QueueUnavailableError):
                call()


def test_caller_that_tries_for_ever_does_not_spin(tmp_path) -> None:
    with connect(f"unix://{tmp_path}/nothing") as nowhere:
        queue, tries = Queue(nowhere), 0
        end = time.monotonic() + 1
        while time.monotonic() < end:
            with pytest.raises(QueueUnavailableError):
                queue.wait(["bell"], 1)
            tries += 1
    assert tries <= 20


def test_scripts_survive_a_restart_of_redis(queue: Queue, redis: Redis) -> None:
    submit(queue)
    redis.script_flush()
    assert claim(queue)


def test_replica_that_refuses_to_write_counts_as_unavailable(queue: Queue, redis: Redis) -> None:
    submit(queue)
    redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(QueueUnavailableError):
            submit(queue)
    finally:
        redis.replicaof("NO", "ONE")


def test_bugs_are_not_taken_for_an_absent_redis(redis: Redis) -> None:
    redis.set("text", "x")
    with pytest.raises(ResponseError), translated():
        redis.lpop("text")


def test_one_job_takes_few_commands(valkey: RedisServer, queue: Queue, redis: Redis) -> None:
    queue.fetch(submit(queue).id)
    queue.finish(claim(queue), JobStatus.SUCCEEDED)  # the scripts are loaded by now
    with connect(valkey.url) as watcher, watcher.monitor() as monitor:
        job = submit(queue)
        queue.finish(claim(queue), JobStatus.SUCCEEDED)
        queue.fetch(job.id)
        redis.echo("that was all")
        sent = []
        for entry in monitor.listen():
            if "that was all" in entry["command"]:
                break
            if entry["client_type"] != "lua":
                sent.append(entry["command"].split()[0])
    assert sent == ["EVALSHA"] * 5
