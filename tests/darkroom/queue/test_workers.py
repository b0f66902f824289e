"""What living workers announce, and how it ends."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from darkroom.errors import QueueUnavailableError, WorkerNotFoundError
from darkroom.queue.connection import connect
from darkroom.queue.queue import Queue
from darkroom.queue.workers import WorkerInfo, Workers, drain, worker_name

INFO = WorkerInfo(
    name="w1",
    engine="w1-e1",
    state="busy",
    models=("emoji",),
    serves=("emoji", "other"),
    device="cuda:0",
    max_jobs=8,
    running=3,
    version="0.1.0",
    started_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    memory={"total": 2**37},
)


@pytest.fixture
def workers(redis: Redis) -> Workers:
    return Workers(redis)


def test_announced_worker_reads_back(workers: Workers) -> None:
    workers.announce(INFO, ttl_s=10)
    (read,) = workers.all()
    assert abs(read.seen_at.timestamp() - time.time()) < 5
    assert replace(read, seen_at=None) == INFO


def test_a_worker_of_version_0_1_is_read(workers: Workers, redis: Redis) -> None:
    workers.announce(INFO, ttl_s=10)
    told = redis.hget("rq:worker:w1", "dr_info").replace(b'"max_jobs"', b'"cap"')
    redis.hset("rq:worker:w1", "dr_info", told)
    assert [worker.max_jobs for worker in workers.all()] == [8]


def test_a_worker_hears_that_it_is_to_drain_and_the_next_of_its_name_does_not(
    workers: Workers, redis: Redis
) -> None:
    queue = Queue(redis)
    with pytest.raises(WorkerNotFoundError):
        queue.carry_out(drain("w1"))
    assert not workers.announce(INFO, ttl_s=10)
    assert queue.carry_out(drain("w1")).name == "w1"
    assert workers.announce(INFO, ttl_s=10)
    assert workers.announce(replace(INFO, state="draining"), ttl_s=10)
    assert 9 < redis.ttl("rq:worker:w1") <= 10
    later = replace(INFO, started_at=INFO.started_at + timedelta(seconds=1))
    assert not workers.announce(later, ttl_s=10)


def test_last_word_counts(workers: Workers) -> None:
    for state in ("starting", "idle", "draining"):
        workers.announce(replace(INFO, state=state), ttl_s=10)
    assert [w.state for w in workers.all()] == ["draining"]


def test_silent_worker_is_forgotten(workers: Workers, redis: Redis) -> None:
    workers.announce(INFO, ttl_s=10)
    workers.announce(replace(INFO, name="w2"), ttl_s=10)
    assert 9 < redis.ttl("rq:worker:w1") <= 10
    redis.pexpire("rq:worker:w1", 0)
    assert [w.name for w in workers.all()] == ["w2"]


def test_the_dead_stay_on_no_list_of_rq(workers: Workers, redis: Redis) -> None:
    for number in range(6):
        workers.announce(replace(INFO, name=f"killed-{number}"), ttl_s=10)
        redis.pexpire(f"rq:worker:killed-{number}", 0)
    workers.announce(INFO, ttl_s=10)
    assert Queue(redis).forget_silent_workers() == 6
    lists = redis.keys("rq:workers*")
    assert len(lists) == 1 + 3 * len(INFO.serves)
    assert all(redis.smembers(each) == {b"rq:worker:w1"} for each in lists)
    assert Queue(redis).forget_silent_workers() == 0


def test_a_full_redis_still_hears_of_workers(workers: Workers, redis: Redis) -> None:
    redis.config_set("maxmemory", 1)
    workers.announce(INFO, ttl_s=10)
    workers.announce(replace(INFO, state="idle"), ttl_s=100)
    assert [worker.state for worker in workers.all()] == ["idle"]
    assert redis.ttl("rq:worker:w1") > 10


def test_leaving_worker_is_gone_at_once(workers: Workers, redis: Redis) -> None:
    workers.announce(INFO, ttl_s=10)
    workers.leave("w1")
    workers.leave("w1")
    assert workers.all() == []
    assert redis.keys() == [b"darkroom:served"]


def test_queues_count_the_workers_that_serve_them(workers: Workers, redis: Redis) -> None:
    queue = Queue(redis)
    queue.submit({}, model="other", priority="low")
    workers.announce(INFO, ttl_s=10)
    workers.announce(replace(INFO, name="w2", serves=("emoji",)), ttl_s=10)
    assert queue.queues()[0].workers == 1


def test_strangers_are_left_out(workers: Workers, redis: Redis) -> None:
    workers.announce(INFO, ttl_s=10)
    redis.sadd("rq:workers", "rq:worker:plain", "rq:worker:odd")
    redis.hset("rq:worker:plain", mapping={"state": "idle", "last_heartbeat": "x"})
    redis.hset("rq:worker:odd", mapping={"dr_info": "{", "last_heartbeat": "x"})
    assert [w.name for w in workers.all()] == ["w1"]


def test_absence_of_redis_is_told(tmp_path) -> None:
    with connect(f"unix://{tmp_path}/nothing") as nowhere:
        workers = Workers(nowhere)
        for call in (workers.all, lambda: workers.announce(INFO, 1), lambda: workers.leave("w1")):
            with pytest.raises(QueueUnavailableError):
                call()


def test_default_name_tells_host_and_process() -> None:
    host, _, pid = worker_name().rpartition("-")
    assert host
    assert int(pid) > 0
