import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from darkroom import keeper
from darkroom.command.valkey import RedisServer
from darkroom.errors import Canceled, LeaseLost
from darkroom.job import Job
from darkroom.queue.connection import connect
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Queue
from darkroom.settings import Settings
from tests.arrivals import Arrivals
from tests.chaos.proxy import Proxy
from tests.worker.test_intake import REQUEST
from worker.held import HeldJobs
from worker.intake import Intake
from worker.leases import Leases
from worker.news import Newsroom
from worker.pulse import Pulse
from worker.running import RunningJob

STUCK_AFTER_S = 3600.0


class Threads:
    """An engine's threads that talk to Redis, without its loop."""

    def __init__(
        self, jobs: Queue, store: object, *, lease_s: float = 1000, max_held: int = 3
    ) -> None:
        self.jobs, self.held = jobs, HeldJobs()
        self.engine = f"engine-{uuid.uuid4().hex}"
        self.beat_now = threading.Event()
        self.pulse = Pulse(step_timeout_s=STUCK_AFTER_S, load_timeout_s=STUCK_AFTER_S)
        self.intake = Intake(
            jobs=jobs,
            store=store,
            held=self.held,
            engine=self.engine,
            places=2,
            look_ahead=max_held - 2,
            serves=lambda: ["pix"],
            loaded=lambda: ["pix"],
            is_ready=lambda: True,
            beat_now=self.beat_now,
            store_is_full=threading.Event(),
        )
        self.leases = Leases(
            jobs,
            self.held,
            self.engine,
            lease_s=lease_s,
            pulse=self.pulse,
            beat_now=self.beat_now,
        )
        self.newsroom = Newsroom(jobs=jobs, held=self.held)
        self.arrivals = Arrivals(self.held)
        self.intake.start()
        self.leases.start()
        self.newsroom.start()

    def close(self) -> None:
        self.stop_claiming()
        self.newsroom.close()
        self.leases.close()

    def submit(self) -> Job:
        return self.jobs.submit(REQUEST, model="pix").job

    def next_begun(self) -> RunningJob:
        """The next job to arrive, begun."""
        arrived = self.arrivals.next()
        begun = self.jobs.begin(arrived.claim, "worker")
        assert begun is not None
        arrived.begin(begun)
        return arrived

    def stop_claiming(self) -> None:
        self.intake.close()
        self.intake.join()

    def beat(self) -> None:
        """Once more, to its end: only then another is begun."""
        for _ in range(2):
            self.beat_now.set()
            self.until(lambda: not self.beat_now.is_set())

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
    both.close()


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
    threads.pulse._ticked_at -= 2 * STUCK_AFTER_S
    threads.beat()
    threads.jobs.reap(threads.engine)
    threads.beat()
    assert arrived.interrupt is None, "a stuck engine asked after its jobs"
    threads.pulse.come_round("busy")
    threads.beat_now.set()
    threads.until(lambda: arrived.interrupt)


def test_a_slow_link_loses_no_lease(valkey: RedisServer, jobs: Queue, redis: Redis) -> None:
    """200 ms there and back, a lease of 2 s, and more jobs than fit into a lease one by one."""
    rules, held = Rules(lease_s=2), 15
    with Proxy(lambda: valkey.url) as proxy:
        link = proxy.link("worker")
        link.slow(0.2)
        with connect(link.url) as far:
            threads = Threads(Queue(far, rules), store=None, lease_s=2, max_held=held)
            for _ in range(held):
                jobs.submit(REQUEST, model="pix")
            arrived = [threads.next_begun() for _ in range(held)]
            keeper, lost, began = Queue(redis, rules), 0, redis.time()[0]
            while redis.time()[0] <= began + 2 * rules.lease_s:
                for job in arrived:  # each has something to tell at any time
                    job.step(job.progress.step + 1, 10**6, None)
                lost += keeper.reap()
            threads.close()
    assert lost == 0
    assert not any(job.interrupt for job in arrived)


def test_an_outage_longer_than_a_lease_costs_no_attempt(state_dir: Path) -> None:
    """With the keeper at its eagerest: the engine comes back later than it."""
    server = RedisServer(state_dir)
    settings = Settings(
        state_dir=state_dir, lease_s=1, keeper_interval_s=0.001, redis_url=server.start()
    )
    stop = threading.Event()
    with connect(settings.redis_url) as redis:
        jobs = Queue.of(redis, settings)
        keeping = threading.Thread(
            target=keeper.run, args=(stop,), kwargs={"settings": settings, "queue": jobs}
        )
        keeping.start()
        threads = Threads(jobs, store=None, lease_s=settings.lease_s)
        try:
            job = threads.submit()
            arrived = threads.next_begun()
            server.stop()
            threading.Event().wait(2 * settings.lease_s)
            server.start()
            back = redis.time()[0]
            while not reaps_again(redis, since=back):
                threads.held.take_arrived(0.05)
            assert jobs.fetch(job.id).attempts == 1
            assert ("reaped",) not in jobs.counters()
            assert arrived.interrupt is None
        finally:
            stop.set()
            keeping.join()
            threads.close()
            server.stop()


def reaps_again(redis: Redis, since: float) -> bool:
    asked, left = redis.hmget("darkroom:reaping", "asked", "left")
    return float(asked) > since + 1 and float(left) == 0
