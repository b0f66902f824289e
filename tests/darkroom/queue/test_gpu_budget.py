"""What an owner's jobs cost: charged as they are accepted, corrected as they end."""

import time
from collections.abc import Callable

import pytest
from redis import Redis

from darkroom.errors import GpuBudgetError
from darkroom.job import JobStatus, Progress, Timings
from darkroom.queue import batches
from darkroom.queue.accepting import NewJob, Terms
from darkroom.queue.jobs import ask
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Claim, News, Queue, queue_names
from darkroom.queue.use import Use, use
from tests.begun import begun

QUEUES = queue_names(["m"])
DAY_S = 86_400


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis, Rules(lease_s=5))


def submit(queue: Queue, work_s: float = 10.0, **more: object) -> str:
    terms = {"model": "m", "owner": "ann", "gpu_seconds_per_day": 100, "work_s": work_s}
    return queue.submit({"seed": 1}, **(terms | more)).job.id


def used(queue: Queue, owner: str = "ann") -> Use:
    return queue.carry_out(use(owner))


def spent(queue: Queue) -> float:
    return used(queue).gpu_seconds


def test_jobs_are_accepted_while_their_work_fits_into_the_day(queue: Queue) -> None:
    for _ in range(4):
        submit(queue, 24.9)
    assert spent(queue) == pytest.approx(99.6)
    with pytest.raises(GpuBudgetError) as caught:
        submit(queue, 0.5)
    assert str(caught.value).startswith("0.4 of your 100 GPU seconds of this day")
    submit(queue, 0.4)
    assert len(queue.page().jobs) == 5
    submit(queue, 90.0, owner="bob")
    submit(queue, 1000.0, gpu_seconds_per_day=None)


def test_the_time_to_come_again_is_true(queue: Queue, redis: Redis) -> None:
    """At the end of the day, by Redis's clock, all is there again."""
    submit(queue, 100.0)
    before, _ = redis.time()
    with pytest.raises(GpuBudgetError) as caught:
        submit(queue)
    seconds, _ = redis.time()
    assert DAY_S - seconds % DAY_S <= caught.value.retry_s <= DAY_S - before % DAY_S
    (name,) = redis.keys("darkroom:gpu:*")
    today = int(name.rpartition(b"|")[2])
    assert today == seconds // DAY_S
    redis.rename(name, f"darkroom:gpu:ann|{today - 1}")  # the day has passed
    submit(queue, 100.0)
    assert spent(queue) == 100.0


def test_a_repeat_is_charged_once(queue: Queue) -> None:
    for _ in range(2):
        submit(queue, job_id="job_1", idempotency_key="k")
    submit(queue, job_id="job_2", idempotency_key="k")
    assert spent(queue) == 10.0


def test_asking_charges_nothing_and_is_refused_as_the_job_would_be(queue: Queue) -> None:
    terms = Terms(owner="ann", gpu_seconds_per_day=100)
    assert queue.carry_out(ask(terms, 100.0)) is None
    submit(queue, 60.0)
    with pytest.raises(GpuBudgetError):
        queue.carry_out(ask(terms, 40.1))
    assert queue.carry_out(ask(terms, 40.0)) is None
    assert spent(queue) == 60.0


def test_the_jobs_of_a_batch_are_charged_together_or_not_at_all(queue: Queue) -> None:
    terms = Terms(owner="ann", gpu_seconds_per_day=100)
    new = [NewJob(request={"seed": n}, model="m", work_s=30.0) for n in range(3)]
    queue.carry_out(batches.submit(new, terms))
    assert spent(queue) == 90.0
    more = [NewJob(request={"seed": n}, model="m", work_s=5.1) for n in range(2)]
    with pytest.raises(GpuBudgetError, match=r"the jobs of this batch take about 10\.2"):
        queue.carry_out(batches.submit(more, terms))
    with pytest.raises(GpuBudgetError):
        queue.carry_out(batches.ask(2, terms, 10.2))
    assert spent(queue) == 90.0
    queue.carry_out(batches.submit([*more[:1], NewJob(request={}, model="m", work_s=4.9)], terms))
    for job in queue.page().jobs:
        queue.cancel(job.id)
    assert spent(queue) == 0.0


def succeed(queue: Queue, claim: Claim, device: float | None) -> None:
    timings = Timings(denoise=9.0, total=9.5, device=device)
    assert queue.finish(claim, JobStatus.SUCCEEDED, timings=timings) == "committed"


def half_done(queue: Queue, claim: Claim, device: float | None = None) -> None:
    progress = Progress(stage="denoise", step=5, steps=10, ratio=0.5)
    told = {"denoise": 30.0} | ({"device": device} if device else {})
    assert queue.tell([News(claim, progress, told)]) == [True]


def cancel(queue: Queue, claim: Claim) -> None:
    queue.cancel(claim.job_id)


ENDS: dict[str, tuple[Callable[[Queue, Claim], object], float]] = {
    "measured": (lambda queue, claim: succeed(queue, claim, 3.25), 3.25),
    "not measured": (lambda queue, claim: succeed(queue, claim, None), 10.0),
    "failed at once": (lambda queue, claim: queue.finish(claim, JobStatus.FAILED), 0.0),
    "canceled at once": (cancel, 0.0),
    "deleted": (lambda queue, claim: queue.delete(claim.job_id), 0.0),
    "canceled half-way": (lambda q, claim: (half_done(q, claim), cancel(q, claim)), 5.0),
    "failed half-way, measured": (
        lambda q, claim: (half_done(q, claim, 1.5), q.finish(claim, JobStatus.FAILED)),
        1.5,
    ),
    "given back, then canceled": (
        lambda q, claim: (half_done(q, claim, 1.5), q.release(claim), cancel(q, claim)),
        1.5,
    ),
    "given back": (lambda q, claim: (half_done(q, claim, 1.5), q.release(claim)), 10.0),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_a_job_took_takes_the_place_of_what_was_expected(queue: Queue, end: str) -> None:
    ends, took = ENDS[end]
    submit(queue)
    claim = begun(queue, queues=QUEUES)
    assert claim is not None
    ends(queue, claim)
    assert spent(queue) == pytest.approx(took)
    queue.cancel(claim.job_id) if end not in ("deleted", "given back") else None
    assert spent(queue) == pytest.approx(took), "once"


def test_what_waits_costs_nothing_once_it_is_canceled(queue: Queue) -> None:
    waits, late = submit(queue), submit(queue, deadline_s=0.0)
    queue.cancel(waits)
    assert queue.expire_deadlines() == [late]
    found = used(queue)
    assert (found.active, found.queued, found.gpu_seconds) == (0, 0, 0.0)


def test_all_attempts_count(queue: Queue) -> None:
    submit(queue)
    first = begun(queue, queues=QUEUES)
    half_done(queue, first, 1.5)
    queue.release(first, {"denoise": 30.0, "device": 1.75})
    second = begun(queue, queues=QUEUES)
    assert (second.device_s, second.spent) == (1.75, {"denoise": 30.0})
    assert queue.fetch(second.job_id).timings is None
    queue.cancel(second.job_id)
    assert queue.fetch(second.job_id).timings.device == 1.75
    assert spent(queue) == 1.75


def test_a_job_is_put_down_to_the_day_on_which_it_was_accepted(queue: Queue, redis: Redis) -> None:
    job_id = submit(queue)
    today = int(time.time()) // DAY_S
    redis.rename(f"darkroom:gpu:ann|{today}", f"darkroom:gpu:ann|{today - 1}")
    redis.hset(f"rq:job:{job_id}", "dr_charged_on", today - 1)
    queue.cancel(job_id)
    assert not redis.exists(f"darkroom:gpu:ann|{today - 1}"), "nothing is left of it"
    assert spent(queue) == 0.0
    late = submit(queue)
    redis.flushdb()  # whoever tidies up Redis; the job goes on in no list of it
    assert spent(queue) == 0.0
    assert late


def test_what_somebody_else_wrote_breaks_nothing(queue: Queue, redis: Redis) -> None:
    job_id = submit(queue)
    redis.hset(f"rq:job:{job_id}", mapping={"dr_charged": "1e999", "dr_spent": "[", "dr_work": "x"})
    assert queue.cancel(job_id).status is JobStatus.CANCELED
    other = submit(queue)
    claim = begun(queue, queues=QUEUES)
    redis.hset(f"rq:job:{other}", "dr_spent", '{"device": 1e300}')
    assert queue.finish(claim, JobStatus.FAILED) == "committed"
