"""When jobs will be done, by what is ahead of them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis import Redis

from darkroom.job import Job, Progress, QueuePlace
from darkroom.model_record import ModelRecord
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.outlook import Line, Outlook, look
from darkroom.queue.queue import News, Queue
from darkroom.queue.workers import WorkerInfo, Workers
from tests.begun import begun

NOW = 1000.0
WORKER = WorkerInfo(
    name="w",
    engine="e",
    state="busy",
    models=("a", "b"),
    serves=("a", "b"),
    device="cpu",
    max_jobs=2,
    running=0,
    version="0",
    started_at=datetime.now(UTC),
)
A, B = replace(WORKER, serves=("a",)), replace(WORKER, serves=("b",))


def eta(
    *lines: Line,
    workers: tuple[WorkerInfo, ...] = (WORKER,),
    name: str = "a.normal",
    work_s: float = 2.0,
    since: float = NOW,
    position: int = 0,
    load_s: float = 0.0,
) -> float | None:
    outlook = Outlook(lines, workers, {"a": load_s}, NOW)
    return outlook.eta_s(QueuePlace(name=name, position=position, work_s=work_s), since)


def waiting(*works: float, model: str = "a", priority: str = "normal", since: float = 990) -> Line:
    return Line(model, priority, tuple((since, work) for work in works))


def running(*lefts: float, model: str = "a", priority: str = "normal") -> Line:
    return Line(model, priority, running=lefts)


def test_a_job_that_has_nothing_ahead_takes_its_own_work() -> None:
    assert eta() == 2
    assert eta(workers=(replace(WORKER, speed=4.0),)) == 2
    assert eta(workers=(replace(WORKER, speed=0.5),)) == 4


@pytest.mark.parametrize("workers", [(), (B,), (replace(A, state="draining"),)])
def test_nothing_is_told_while_nobody_serves_the_model(workers: tuple[WorkerInfo, ...]) -> None:
    assert eta(workers=workers) is None


def test_work_ahead_is_done_at_the_speed_of_all_who_serve_the_model() -> None:
    ahead = waiting(1, 1, 1, 1, 1, 1)
    assert eta(ahead) == 6 + 2
    assert eta(ahead, workers=(WORKER, replace(WORKER, speed=3.0))) == 6 / 4 + 2
    assert eta(ahead, workers=(WORKER, B)) == 6 + 2


def test_higher_priorities_are_ahead_and_lower_ones_are_not() -> None:
    lines = [waiting(1), waiting(50, priority="high"), waiting(100, priority="low")]
    assert eta(*lines) == 50 + 1 + 2
    assert eta(*lines, name="a.high") == 2
    assert eta(*lines, name="a.low") == 50 + 1 + 2


def test_within_a_queue_shorter_jobs_are_ahead_and_longer_ones_that_waited_too() -> None:
    assert eta(waiting(1, 30)) == 1 + 2
    assert eta(waiting(1, 30), work_s=60) == 31 + 60
    assert eta(waiting(2.1, since=0)) == 2.1 + 2


def test_a_job_is_not_ahead_of_itself() -> None:
    assert eta(waiting(2), since=990) == 2
    assert eta(waiting(0, 0, since=NOW), work_s=0) == 0


def test_of_other_models_older_jobs_are_ahead_by_the_share_that_the_same_workers_do() -> None:
    older = Line("b", "normal", ((990, 8), (NOW + 1, 100)))
    assert eta(older) == 8 + 2
    assert eta(older, workers=(A, B)) == 2
    assert eta(older, workers=(WORKER, B)) == 8 / 2 + 2
    assert eta(older, workers=(WORKER, replace(B, speed=3.0))) == 8 / 4 + 2


def test_of_running_jobs_those_with_less_left_are_ahead() -> None:
    assert eta(running(1)) == 1 + 2
    assert eta(running(50)) == 2
    assert eta(running(50), work_s=60) == 50 + 60
    assert eta(running(5, priority="high")) == 5 + 2
    assert eta(running(1, priority="low")) == 2


def test_a_job_without_a_place_waits_until_enough_have_ended() -> None:
    assert eta(running(50, 20)) == 20 + 2
    assert eta(replace(running(50, 20), waiting=waiting(1).waiting)) == 70 + 1 + 2
    assert eta(running(50, 20), workers=(WORKER, WORKER)) == 2


def test_who_came_since_is_counted_by_the_position() -> None:
    assert eta(waiting(1, 1), position=2) == 2 + 2
    assert eta(waiting(1, 1), position=5) == 2 + 3 * 1 + 2
    assert eta(position=3) == 3 * 2 + 2


def test_who_came_since_and_has_begun_is_counted_as_far_as_there_was_room() -> None:
    outlook, place = (
        Outlook([], [WORKER], {}, NOW),
        QueuePlace(name="a.normal", position=0, work_s=2),
    )
    told = []
    for number in range(4):
        told.append(outlook.eta_s(place, NOW + number))
        outlook.accepted(place, NOW + number)
    assert told == [2, 2 + 2, 2 * 2 + 2, 2 * 2 + 2]
    assert [outlook.eta_s(place, NOW + number) for number in range(4)] == told
    behind = place.model_copy(update={"position": 1})
    assert outlook.eta_s(behind, NOW + 3) == 3 * 2 + 2


def test_a_model_that_no_worker_has_in_memory_is_loaded_first() -> None:
    assert eta(load_s=20) == 2
    assert eta(load_s=20, workers=(replace(WORKER, models=()),)) == 22


@pytest.fixture
def queue(redis: Redis) -> Queue:
    Workers(redis).announce(WORKER, ttl_s=60)
    return Queue(redis)


def told(queue: Queue, job: Job) -> float | None:
    job = queue.fetch(job.id)
    assert job.queue
    return queue.carry_out(look()).eta_s(job.queue, job.created_at.timestamp())


def test_what_waits_is_held_and_runs_is_read_from_the_queue(queue: Queue, redis: Redis) -> None:
    for work_s in (10, 20, 30):
        queue.submit({}, model="a", work_s=work_s)
    runs = begun(queue, queues=["a.normal"])
    queue.tell([News(runs, Progress(stage="denoise", ratio=0.75))])
    queue.claim(engine="e", queues=["a.normal"], token="held")
    last = queue.submit({}, model="a", work_s=60).job
    assert told(queue, last) == 2.5 + 20 + 30 + 60
    redis.rpush("rq:queue:a.normal", "stranger", "text")
    redis.set("rq:job:text", "no hash")
    assert told(queue, last) == 2.5 + 20 + 30 + 60


def test_a_job_without_an_estimate_counts_as_a_second(queue: Queue) -> None:
    queue.submit({}, model="a")
    last = queue.submit({}, model="a").job
    assert last.queue
    assert (last.queue.work_s, told(queue, last)) == (1, 2)


def test_loading_takes_what_it_took_before(queue: Queue, redis: Redis) -> None:
    ModelRecords(redis).put(ModelRecord(name="a", load_s=7))
    job = queue.submit({}, model="a", work_s=1).job
    assert told(queue, job) == 1
    Workers(redis).announce(replace(WORKER, models=()), ttl_s=60)
    assert told(queue, job) == 8
