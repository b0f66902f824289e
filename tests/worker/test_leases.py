import threading
import uuid
from collections.abc import Iterator

import pytest
from redis import Redis

from darkroom.errors import Canceled, LeaseLost
from darkroom.job import Job, JobStatus
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue
from tests.arrivals import Arrivals
from tests.worker.test_intake import REQUEST
from worker.held import HeldJobs
from worker.intake import Intake
from worker.leases import Leases
from worker.pulse import Pulse
from worker.running import RunningJob

STUCK_AFTER_S = 3600.0


class Threads:
    """An engine's two threads that talk to Redis, without its loop."""

    def __init__(self, jobs: Queue, store: object, *, lease_s: float = 1000) -> None:
        self.jobs, self.held = jobs, HeldJobs()
        self.engine = f"engine-{uuid.uuid4().hex}"
        self.beat_now = threading.Event()
        self.pulse = Pulse(step_timeout_s=STUCK_AFTER_S, load_timeout_s=STUCK_AFTER_S)
        self.intake = Intake(
            jobs=jobs,
            store=store,
            held=self.held,
            engine=self.engine,
            worker="worker",
            max_jobs=2,
            max_held=3,
            preferred=lambda: ["pix"],
            beat_now=self.beat_now,
            store_is_full=threading.Event(),
        )
        self.leases = Leases(
            jobs=jobs,
            held=self.held,
            engine=self.engine,
            lease_s=lease_s,
            pulse=self.pulse,
            beat_now=self.beat_now,
        )
        self.arrivals = Arrivals(self.held)
        self.intake.start()
        self.leases.start()

    def submit(self) -> Job:
        return self.jobs.submit(REQUEST, model="pix").job

    def stop_claiming(self) -> None:
        self.intake.close()
        self.intake.join()

    def until(self, true) -> None:
        """Wait as the loop does until it comes true."""
        for _ in range(100):
            if true():
                return
            self.held.take_arrived(0.2)
        raise AssertionError("it did not come to pass")


@pytest.fixture
def jobs(redis: Redis) -> Queue:
    return Queue(redis, Rules(lease_s=30))


@pytest.fixture
def threads(jobs: Queue) -> Iterator[Threads]:
    both = Threads(jobs, store=None)
    yield both
    both.stop_claiming()
    both.leases.close()


def test_a_canceled_job_is_interrupted_at_once(threads: Threads) -> None:
    job = threads.submit()
    arrived = threads.arrivals.next()
    threads.jobs.cancel(job.id)
    threads.until(lambda: arrived.interrupt)
    assert isinstance(arrived.interrupt, Canceled)


def test_a_job_taken_away_is_interrupted(threads: Threads) -> None:
    threads.submit()
    arrived = threads.arrivals.next()
    threads.stop_claiming()
    threads.jobs.reap(threads.engine)
    threads.beat_now.set()
    threads.until(lambda: arrived.interrupt)
    assert isinstance(arrived.interrupt, LeaseLost)


def test_leases_of_an_engine_that_is_stuck_are_not_extended(threads: Threads) -> None:
    threads.submit()
    arrived = threads.arrivals.next()
    threads.stop_claiming()
    threads.jobs.reap(threads.engine)
    threads.pulse._ticked_at -= 2 * STUCK_AFTER_S
    threads.beat_now.set()
    threads.until(lambda: not threads.beat_now.is_set())
    assert arrived.interrupt is None, "a stuck engine asked after its jobs"
    threads.pulse.tick()
    threads.beat_now.set()
    threads.until(lambda: arrived.interrupt)


def progress_of(threads: Threads, job: RunningJob) -> int | None:
    found = threads.jobs.fetch(job.id)
    assert found.status is JobStatus.RUNNING
    return found.progress and found.progress.step


def test_progress_is_told(threads: Threads) -> None:
    threads.submit()
    arrived = threads.arrivals.next()
    arrived.step(1, 4, None)
    threads.until(lambda: progress_of(threads, arrived) == 1)
