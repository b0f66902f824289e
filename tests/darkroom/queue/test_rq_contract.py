"""What we rely on in RQ 2.12: its own tools must read our jobs, queues and workers rightly."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis import Redis
from rq import Queue as RQQueue
from rq import SimpleWorker
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus
from rq.registry import (
    BaseRegistry,
    CanceledJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    StartedJobRegistry,
)
from rq.serializers import JSONSerializer
from rq.timeouts import TimerDeathPenalty
from rq.utils import parse_composite_key
from rq.worker import BaseWorker, Worker

from darkroom.command.valkey import RedisServer
from darkroom.job import RQ_WORDS, ImageRecord, JobError, JobStatus
from darkroom.queue.job_hash import FUNCTION
from darkroom.queue.queue import Claim, Queue, queue_names
from darkroom.queue.workers import WorkerInfo, Workers
from tests.begun import begun

NAME = "emoji.normal"
REQUEST = {"task": "text-to-image", "prompt": "secret words", "model": "emoji"}
ERROR = JobError(code="unsupported", message="It cannot.")
IMAGE = ImageRecord(id="img_1", url="/", width=1, height=1, seed=1, bytes=1, sha256="0")
INFO = WorkerInfo(
    name="w1",
    engine="e1",
    state="busy",
    models=("emoji",),
    serves=("emoji",),
    device="cpu",
    max_jobs=8,
    running=1,
    version="0.1.0",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def claim(queue: Queue, token: str = "t") -> Claim:
    return begun(queue, engine="e1", worker="w1", queues=queue_names(["emoji"]), token=token)


def submit(queue: Queue) -> str:
    return queue.submit(REQUEST, model="emoji").job.id


def running(queue: Queue) -> str:
    submit(queue)
    return claim(queue).job_id


def succeeded(queue: Queue) -> str:
    submit(queue)
    got = claim(queue)
    queue.finish(got, JobStatus.SUCCEEDED, images=[IMAGE])
    return got.job_id


def failed(queue: Queue) -> str:
    submit(queue)
    got = claim(queue)
    queue.finish(got, JobStatus.FAILED, error=ERROR)
    return got.job_id


def canceled(queue: Queue) -> str:
    return queue.cancel(submit(queue)).id


def given_back(queue: Queue) -> str:
    submit(queue)
    got = claim(queue)
    queue.release(got)
    return got.job_id


STATES = {
    submit: RQStatus.QUEUED,
    running: RQStatus.STARTED,
    succeeded: RQStatus.FINISHED,
    failed: RQStatus.FAILED,
    canceled: RQStatus.CANCELED,
    given_back: RQStatus.QUEUED,
}
ENDED = {RQStatus.FINISHED, RQStatus.FAILED, RQStatus.CANCELED}


def fetch(redis: Redis, job_id: str) -> RQJob:
    return RQJob.fetch(job_id, connection=redis, serializer=JSONSerializer)


def registries(redis: Redis) -> dict[RQStatus, BaseRegistry]:
    return {
        status: registry(NAME, connection=redis, serializer=JSONSerializer)
        for status, registry in [
            (RQStatus.STARTED, StartedJobRegistry),
            (RQStatus.FINISHED, FinishedJobRegistry),
            (RQStatus.FAILED, FailedJobRegistry),
            (RQStatus.CANCELED, CanceledJobRegistry),
        ]
    }


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_job_fetch_reads_our_jobs(
    queue: Queue, redis: Redis, state: Callable[[Queue], str]
) -> None:
    job_id = state(queue)
    ours, job = queue.fetch(job_id), fetch(redis, job_id)
    status = STATES[state]
    assert job.get_status() is status
    assert (job.id, job.origin, job.func_name, job.args) == (job_id, NAME, FUNCTION, [REQUEST])
    assert job.created_at == ours.created_at
    assert job.enqueued_at >= job.created_at
    assert job.started_at == ours.started_at
    assert job.ended_at == ours.finished_at
    assert (job.ended_at is not None) is (status in ENDED)
    assert job.worker_name == ours.worker
    assert job.meta == {}
    assert job._exc_info == ("unsupported: It cannot." if state is failed else None)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_h4_rqs_tools_show_no_prompt(
    queue: Queue, redis: Redis, state: Callable[[Queue], str]
) -> None:
    """RQ logs the description of a job and shows it on its pages."""
    job = fetch(redis, state(queue))
    assert "secret" in job.args[0]["prompt"]
    assert "secret" not in f"{job.description} {job.func_name} {job.meta} {job._exc_info}"


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("cleanup", [False, True])
def test_job_is_in_its_registry_alone(
    queue: Queue, redis: Redis, state: Callable[[Queue], str], cleanup: bool
) -> None:
    job_id = state(queue)
    for status, registry in registries(redis).items():
        expected = [job_id] if status is STATES[state] else []
        assert registry.get_job_ids(cleanup=cleanup) == expected, status
        assert registry.get_job_count(cleanup=cleanup) == len(expected)
    waiting = RQQueue(NAME, connection=redis, serializer=JSONSerializer)
    assert waiting.job_ids == ([job_id] if STATES[state] is RQStatus.QUEUED else [])
    assert waiting.count == len(waiting.job_ids)


def test_statuses_have_rqs_words() -> None:
    assert {RQStatus(word) for word in RQ_WORDS.values()} == set(STATES.values())


def test_execution_is_where_rq_looks(queue: Queue, redis: Redis) -> None:
    job_id = running(queue)
    (execution,) = fetch(redis, job_id).get_executions()
    assert (execution.id, execution.worker_name) == ("t", "w1")
    assert execution.created_at.timestamp() == pytest.approx(
        queue.fetch(job_id).started_at.timestamp(), abs=0.001
    )
    (pair,) = registries(redis)[RQStatus.STARTED].get_job_and_execution_ids()
    assert pair == (job_id, "t") == parse_composite_key(f"{job_id}:t")
    queue.cancel(job_id)
    assert fetch(redis, job_id).get_executions() == []


def test_registry_scores_are_the_end_of_retention(queue: Queue, redis: Redis) -> None:
    for state in (succeeded, failed, canceled):
        job_id = state(queue)
        registry = registries(redis)[STATES[state]]
        expires = registry.get_expiration_time(fetch(redis, job_id))
        ours = queue.fetch(job_id).expires_at
        assert abs((expires - ours).total_seconds()) < 0.001


def test_readers_of_registries_make_no_duplicates(queue: Queue, redis: Redis) -> None:
    for n in range(40):
        submit(queue)
        claim(queue, f"t{n}")
    for job_id in redis.zrange("darkroom:leases", 0, -1):
        redis.zadd("darkroom:leases", {job_id: 1})

    def read(_: int) -> None:
        for _ in range(10):
            for registry in registries(redis).values():
                registry.death_penalty_class = TimerDeathPenalty
                assert registry.count <= 40

    with ThreadPoolExecutor(5) as pool:
        reads = pool.map(read, range(4))
        reaped = pool.submit(queue.reap)
        list(reads)
    assert reaped.result() == 40
    assert len(set(redis.lrange(f"rq:queue:{NAME}", 0, -1))) == redis.llen(f"rq:queue:{NAME}") == 40


def test_worker_all_reads_our_workers(redis: Redis) -> None:
    workers = Workers(redis)
    workers.announce(INFO, ttl_s=10)
    (worker,) = Worker.all(connection=redis, serializer=JSONSerializer)
    assert (worker.name, worker.get_state(), worker.pid) == ("w1", "busy", os.getpid())
    assert worker.queue_names() == queue_names(["emoji"])
    assert worker.birth_date == INFO.started_at
    assert (datetime.now(UTC) - worker.last_heartbeat).total_seconds() < 60
    waiting = RQQueue(NAME, connection=redis, serializer=JSONSerializer)
    assert [w.name for w in Worker.all(queue=waiting)] == ["w1"]
    assert BaseWorker.count(connection=redis) == 1
    workers.leave("w1")
    assert Worker.all(connection=redis) == Worker.all(queue=waiting) == []


def test_worker_all_counts_finished_jobs(queue: Queue, redis: Redis) -> None:
    Workers(redis).announce(INFO, ttl_s=10)
    for state in (succeeded, succeeded, failed):
        state(queue)
    (worker,) = Worker.all(connection=redis, serializer=JSONSerializer)
    assert (worker.successful_job_count, worker.failed_job_count) == (2, 1)


def test_queue_all_lists_our_queues(queue: Queue, redis: Redis) -> None:
    submit(queue)
    (found,) = RQQueue.all(connection=redis, serializer=JSONSerializer)
    assert (found.name, found.count) == (NAME, 1)


def test_rq_info_tells_the_truth(valkey: RedisServer, queue: Queue, redis: Redis) -> None:
    Workers(redis).announce(replace(INFO, running=1), ttl_s=30)
    for n, state in enumerate((succeeded, succeeded, failed, canceled, running)):
        assert state(queue), n
    for _ in range(3):
        submit(queue)
    before = redis.zrange(f"rq:wip:{NAME}", 0, -1)
    info = subprocess.run(
        [sys.executable, "-m", "rq.cli", "info", "--raw", "--url", valkey.url],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    assert f"queue {NAME} 3, 1 executing, 2 finished, 1 failed" in info
    assert f"worker w1 ({INFO.host} " in info
    assert "busy emoji.high, emoji.normal, emoji.low. jobs: 2 finished, 1 failed" in info
    assert redis.zrange(f"rq:wip:{NAME}", 0, -1) == before


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """RQ's worker takes SIGINT and SIGTERM and does not give them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_signals")
def test_plain_rq_worker_can_only_fail_our_jobs(queue: Queue, redis: Redis) -> None:
    job_id = submit(queue)
    waiting = RQQueue(NAME, connection=redis, serializer=JSONSerializer)
    worker = SimpleWorker([waiting], connection=redis, serializer=JSONSerializer)
    worker.death_penalty_class = TimerDeathPenalty
    worker.work(burst=True, logging_level="CRITICAL")
    job = queue.fetch(job_id)
    assert job.status is JobStatus.FAILED
    assert "belongs to Darkroom" in fetch(redis, job_id).latest_result().exc_string


def test_running_job_canceled_by_rq_is_stopped(queue: Queue, redis: Redis) -> None:
    submit(queue)
    got = claim(queue)
    fetch(redis, got.job_id).cancel()
    assert queue.finish(got, JobStatus.SUCCEEDED) == "fenced"
    assert queue.beat("e1", [got]).canceled == {got.token}
    assert queue.reap("e1") == 0
    job = queue.fetch(got.job_id)
    assert job.status is JobStatus.CANCELED
    assert job.expires_at is not None


def test_queued_job_canceled_by_rq_is_not_run(queue: Queue, redis: Redis) -> None:
    job_id = submit(queue)
    fetch(redis, job_id).cancel()
    assert claim(queue) is None
    assert queue.fetch(job_id).status is JobStatus.CANCELED


def test_job_requeued_by_rq_runs_again(queue: Queue, redis: Redis) -> None:
    job_id = failed(queue)
    registries(redis)[RQStatus.FAILED].requeue(job_id)
    assert queue.fetch(job_id).status is JobStatus.QUEUED
    got = claim(queue, "t2")
    assert (got.job_id, got.request, got.attempt) == (job_id, REQUEST, 2)
    assert redis.zcard("darkroom:expiries") == 0
    assert redis.ttl(f"rq:job:{job_id}") == -1
    assert queue.finish(got, JobStatus.SUCCEEDED) == "committed"
    job = queue.fetch(job_id)
    assert (job.status, job.error) == (JobStatus.SUCCEEDED, None)
