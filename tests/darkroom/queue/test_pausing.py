"""Queues that an operator paused, in the scripts that claim and begin."""

from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from darkroom.command.valkey import RedisServer
from darkroom.job import PAUSED, JobStatus
from darkroom.queue.connection import connect
from darkroom.queue.jobs import next_place
from darkroom.queue.pausing import Paused, paused, switch
from darkroom.queue.queue import Claim, Queue, queue_bell, queue_names
from tests.begun import begun

QUEUES = queue_names(["a", "b"])


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def pause(queue: Queue, model: str | None = None) -> Paused:
    return queue.carry_out(switch("pause", model))


def resume(queue: Queue, model: str | None = None) -> Paused:
    return queue.carry_out(switch("resume", model))


def claim(queue: Queue, engine: str = "e", **more: object) -> Claim | None:
    return queue.claim(engine=engine, queues=QUEUES, token=uuid4().hex, **more)


def submit(queue: Queue, model: str, **more: object) -> str:
    return queue.submit({"seed": 1}, model=model, **more).job.id


def test_jobs_of_a_paused_model_are_accepted_and_wait(queue: Queue) -> None:
    before = submit(queue, "a", priority="high")
    assert pause(queue, "a") == Paused(all=False, models=("a",))
    after, other = submit(queue, "a"), submit(queue, "b", priority="low")
    taken = claim(queue)
    assert taken is not None
    assert taken.job_id == other
    assert claim(queue) is None
    assert {state.name: state.paused for state in queue.queues()} == {
        "a.high": True,
        "a.normal": True,
        "b.low": False,
    }
    assert resume(queue, "a") == Paused(all=False, models=())
    assert [claim(queue).job_id for _ in range(2)] == [before, after]


def test_all_are_paused_at_once_and_go_on_at_once(queue: Queue) -> None:
    ids = {submit(queue, "a"), submit(queue, "b")}
    pause(queue, "a")
    assert pause(queue) == Paused(all=True, models=("a",))
    assert claim(queue) is None
    assert resume(queue, "a") == Paused(all=True, models=()), "that of all stays"
    assert claim(queue) is None
    pause(queue, "b")
    assert resume(queue) == queue.carry_out(paused()) == Paused(all=False, models=())
    assert {claim(queue).job_id, claim(queue).job_id} == ids


def test_what_runs_goes_on_and_waits_once_it_is_given_back(queue: Queue) -> None:
    for _ in range(2):
        submit(queue, "a")
    ends, released = (begun(queue, queues=QUEUES) for _ in range(2))
    pause(queue)
    assert queue.beat("e", [ends, released]).lost == frozenset()
    assert queue.finish(ends, JobStatus.SUCCEEDED) == "committed"
    assert queue.release(released)
    assert claim(queue) is None
    assert queue.fetch(released.job_id).status is JobStatus.QUEUED


def test_what_an_engine_holds_and_has_not_begun_goes_back(queue: Queue) -> None:
    job_id = submit(queue, "a")
    held = claim(queue)
    pause(queue, "a")
    assert claim(queue, "other", take_from_others=True) is None
    assert queue.begin(held, "w") is None
    job = queue.fetch(job_id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert queue.redis.exists("darkroom:engine:e") == 0
    resume(queue, "a")
    again = claim(queue)
    assert again is not None
    assert queue.begin(again, "w").attempt == 1


def test_going_on_rings_for_engines_that_wait(queue: Queue) -> None:
    submit(queue, "a")
    pause(queue)
    while queue.wait([queue_bell("a")], 0.01):
        pass
    resume(queue)
    assert queue.wait([queue_bell("a")], 1) == queue_bell("a")


def test_a_job_that_waits_says_why(queue: Queue) -> None:
    waits, goes_on = submit(queue, "a"), submit(queue, "b")
    pause(queue, "a")
    reasons = {job.id: job.queue.reason for job in queue.page().jobs}
    assert reasons == {waits: PAUSED, goes_on: None}
    assert queue.submit({}, model="a").job.queue.reason == PAUSED
    assert queue.carry_out(next_place("a.normal", 1.0))[0].reason == PAUSED
    assert queue.carry_out(next_place("b.normal", 1.0))[0].reason is None
    resume(queue)
    assert queue.fetch(waits).queue.reason is None


def test_deadlines_pass_and_jobs_are_canceled_all_the_same(queue: Queue) -> None:
    pause(queue)
    late, unwanted = submit(queue, "a", deadline_s=0.0), submit(queue, "a")
    assert queue.expire_deadlines() == [late]
    assert queue.cancel(unwanted).status is JobStatus.CANCELED


def test_it_is_said_in_a_sentence() -> None:
    assert str(Paused(all=False, models=())) == ""
    assert str(Paused(all=False, models=("a", "b"))).startswith("An operator paused the queues of")
    assert str(Paused(all=True, models=("a",))).startswith("All queues are paused")


def test_it_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    url = server.start()
    try:
        with connect(url) as redis:
            pause(Queue(redis), "a")
        server.stop()
        with connect(server.start()) as redis:
            assert Queue(redis).carry_out(paused()) == Paused(all=False, models=("a",))
    finally:
        server.stop()
