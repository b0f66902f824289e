"""The queue as a state machine: any order of calls, repeats, lost leases and dead engines.

Hypothesis drives a real Valkey. The model knows only what was acknowledged; after each step the
invariants of the promise are read from Redis itself.
"""

from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from darkroom.errors import (
    GpuBudgetError,
    QueueFullError,
    TooManyActiveJobsError,
    TooManyQueuedJobsError,
)
from darkroom.job import Job, JobStatus, Timings
from darkroom.queue.lua import Rules
from darkroom.queue.pausing import Paused, switch
from darkroom.queue.queue import Claim, Queue, queue_names
from darkroom.queue.use import use

MAX_ATTEMPTS = 3
MAX_QUEUED = 6
MAX_ACTIVE = 5
MAX_OWN_QUEUED = 4
BUDGET_S = 40
QUEUES = queue_names(["a", "b"])
ENGINES = ("engine-1", "engine-2")
OWNERS = ("ann", "bob")


@dataclass
class Known:
    """What the outside world was told about one job."""

    owner: str
    work_s: float = 1.0
    device_s: float | None = None
    committed: list[str] = field(default_factory=list)
    canceled: bool = False
    begins: int = 0
    refunds: int = 0
    position: int = 10**9


class QueueStates(RuleBasedStateMachine):
    redis: Redis
    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self.queue = Queue(self.redis, Rules(max_attempts=MAX_ATTEMPTS, max_queued=MAX_QUEUED))
        self.jobs: dict[str, Known] = {}
        self.seen: dict[str, Job] = {}
        self.paused = Paused(all=False, models=())
        for priority in ("low", "normal", "normal"):
            self.submit("a", priority, "ann", deadline=None, twice=False, keyed=False)

    # What clients do

    @rule(
        model=st.sampled_from("ab"),
        priority=st.sampled_from(["high", "normal", "low"]),
        owner=st.sampled_from(OWNERS),
        deadline=st.sampled_from([None, None, 0.0]),
        twice=st.booleans(),
        keyed=st.booleans(),
        work_s=st.sampled_from([0.5, 4.0, 11.0]),
    )
    def submit(
        self,
        model: str,
        priority: str,
        owner: str,
        deadline: float | None,
        twice: bool,
        keyed: bool,
        work_s: float = 1.0,
    ) -> None:
        spent_s = self.spent_s(owner)
        job_id = f"job_{len(self.jobs)}"
        for _ in range(1 + twice):  # the reply to the first was lost
            try:
                self.queue.submit(
                    {"seed": 1},
                    model=model,
                    priority=priority,
                    job_id=job_id,
                    owner=owner,
                    max_active=MAX_ACTIVE,
                    max_queued=MAX_OWN_QUEUED,
                    gpu_seconds_per_day=BUDGET_S,
                    work_s=work_s,
                    deadline_s=deadline,
                    idempotency_key=job_id if keyed else None,
                )
            except QueueFullError:
                assert self.queued() >= MAX_QUEUED
                return
            except TooManyActiveJobsError:
                assert self.active(owner, self.all_jobs()) >= MAX_ACTIVE
                return
            except TooManyQueuedJobsError:
                mine = [job_id for job_id, known in self.jobs.items() if known.owner == owner]
                found = self.all_jobs()
                assert sum(found[job_id].status == "queued" for job_id in mine) >= MAX_OWN_QUEUED
                return
            except GpuBudgetError:
                assert spent_s + work_s > BUDGET_S
                return
            self.jobs[job_id] = self.jobs.get(job_id, Known(owner, work_s))
        assert spent_s + work_s <= BUDGET_S

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        before = self.queue.fetch(job_id).status
        after = self.queue.cancel(job_id).status
        assert after == (before if before.terminal else JobStatus.CANCELED)
        self.jobs[job_id].canceled |= not before.terminal

    @rule(verb=st.sampled_from(["pause", "resume"]), model=st.sampled_from(["a", "b", None]))
    def switch(self, verb: Literal["pause", "resume"], model: str | None) -> None:
        """What an operator does."""
        self.paused = self.queue.carry_out(switch(verb, model))

    # What engines do

    @precondition(lambda self: self.any("queued"))
    @rule(
        target=claims,
        engine=st.sampled_from(ENGINES),
        repeats=st.integers(0, 2),
        from_others=st.booleans(),
    )
    def claim(self, engine: str, repeats: int, from_others: bool) -> object:
        for job_id in self.held() if from_others else ():
            self.redis.hset(f"rq:job:{job_id}", "dr_claimed", 1)  # long enough ago
        terms = {"engine": engine, "queues": QUEUES, "token": uuid4().hex}
        got = [self.queue.claim(**terms, take_from_others=from_others) for _ in range(1 + repeats)]
        if got[0] is None:
            mine = self.redis.hvals(f"darkroom:engine:{engine}")
            assert self.listed() == 0
            held = {job_id for job_id in self.held() if not self.is_paused(job_id)}
            assert not from_others or held <= {each.decode() for each in mine}
            return multiple()
        assert not self.is_paused(got[0].job_id)
        assert [one and one.job_id for one in got] == [got[0].job_id] * len(got)
        assert got[0].must_run_alone == (got[0].attempt >= 2)
        return engine, got[0]

    @rule(claim=claims, repeats=st.integers(0, 1))
    def begin_job(self, claim: tuple[str, Claim], repeats: int) -> None:
        _, claim = claim
        mine, runs = self.holds(claim), self.queue.fetch(claim.job_id).status == "running"
        may = mine and (runs or not self.is_paused(claim.job_id))
        for _ in range(1 + repeats):
            begun = self.queue.begin(claim, "w")
            assert (begun is not None) == may
            assert not begun or begun.began
        self.jobs[claim.job_id].begins += may and not runs

    @rule(
        claim=claims,
        status=st.sampled_from(["succeeded", "failed", "canceled"]),
        device_s=st.sampled_from([None, 0.25, 8.0]),
    )
    def finish(self, claim: tuple[str, Claim], status: str, device_s: float | None) -> None:
        _, claim = claim
        mine = self.holds(claim)
        job = self.jobs[claim.job_id]
        had = claim.token in job.committed
        answer = self.queue.finish(claim, JobStatus(status), timings=Timings(device=device_s))
        assert answer == ("already" if had else "committed" if mine else "fenced")
        if answer == "committed":
            job.committed.append(claim.token)
            job.device_s = device_s
            assert self.queue.fetch(claim.job_id).status == status

    @rule(claim=claims)
    def release(self, claim: tuple[str, Claim]) -> None:
        _, claim = claim
        mine, runs = self.holds(claim), self.queue.fetch(claim.job_id).status == "running"
        given = self.queue.release(claim)
        assert given or not mine
        self.jobs[claim.job_id].refunds += mine and runs

    @rule(engine=st.sampled_from(ENGINES), kept=st.lists(claims, max_size=4), late=st.booleans())
    def beat(self, engine: str, kept: list[tuple[str, Claim]], late: bool) -> None:
        for job_id in self.redis.hvals(f"darkroom:engine:{engine}") if late else ():
            self.redis.zadd("darkroom:leases", {job_id: 1})
        mine = {c.token: c for e, c in kept if e == engine}
        held = {token for token, claim in mine.items() if self.holds(claim)}
        running = {job_id for job_id, job in self.seen.items() if job.status == "running"}
        answer = self.queue.beat(engine, mine.values())
        done = {t for t, c in mine.items() if t in self.jobs[c.job_id].committed}
        assert held.isdisjoint(answer.lost)
        assert mine.keys() - held - done <= answer.lost | done
        for job_id in answer.forgotten & running:
            self.jobs[job_id].refunds += 1

    # What time does

    @rule(data=st.data())
    def leases_end(self, data: st.DataObject) -> None:
        for job_id in self.redis.zrange("darkroom:leases", 0, -1):
            if data.draw(st.booleans()):
                self.redis.zadd("darkroom:leases", {job_id: 1})

    @precondition(lambda self: self.any("running"))
    @rule(target=claims, engine=st.sampled_from(ENGINES))
    def take_over(self, engine: str) -> object:
        """All engines fall silent, the keeper notices, and one of them comes back."""
        for job_id in self.redis.zrange("darkroom:leases", 0, -1):
            self.redis.zadd("darkroom:leases", {job_id: 1})
        self.queue.reap()
        return self.claim(engine, repeats=0, from_others=False)

    @rule(engine=st.sampled_from([None, *ENGINES]))
    def reap(self, engine: str | None) -> None:
        self.queue.reap(engine)
        if engine:
            assert self.redis.exists(f"darkroom:engine:{engine}") == 0

    @rule(engine=st.sampled_from(ENGINES), blamed=st.lists(claims, max_size=3))
    def bury(self, engine: str, blamed: list[tuple[str, Claim]]) -> None:
        """An engine died, and its supervisor knows what it was at work on."""
        tokens = {claim.token for _, claim in blamed}
        for job_id in self.redis.hvals(f"darkroom:engine:{engine}"):
            token, status = self.redis.hmget(f"rq:job:{job_id.decode()}", "dr_token", "status")
            if status == b"started" and token.decode() not in tokens:
                self.jobs[job_id.decode()].refunds += 1
        self.queue.reap(engine, tokens)
        if engine:
            assert self.redis.exists(f"darkroom:engine:{engine}") == 0

    @precondition(lambda self: self.any("queued"))
    @rule()
    def deadlines_pass(self) -> None:
        for job_id in self.queue.expire_deadlines():
            assert self.queue.fetch(job_id).error.code == "deadline_exceeded"

    # What must hold at every instant

    @invariant()
    def promise_holds(self) -> None:
        jobs = self.seen = self.all_jobs()
        assert jobs.keys() == self.jobs.keys()
        self.no_job_is_lost_or_in_two_places(jobs)
        self.running_jobs_have_one_holder()
        for job_id, known in self.jobs.items():
            self.ends_once(jobs[job_id], known)
            self.attempts_are_bounded_and_counted(jobs[job_id], known)
            self.position_never_rises(jobs[job_id], known)
        self.jobs_that_wait_are_found_by_their_owners()
        for owner in OWNERS:
            assert self.redis.scard(f"darkroom:active:{owner}") == self.active(owner, jobs)
            costs = [self.cost_s(jobs[i], j) for i, j in self.jobs.items() if j.owner == owner]
            assert self.spent_s(owner) == pytest.approx(sum(costs))

    def cost_s(self, job: Job, known: Known) -> float:
        """What it is charged with: nobody tells how far a job is, but at its end."""
        if known.device_s is not None:
            return known.device_s
        return known.work_s if not job.status.terminal or job.status == "succeeded" else 0.0

    def no_job_is_lost_or_in_two_places(self, jobs: dict[str, Job]) -> None:
        places: dict[str, list[str]] = {job_id: [] for job_id in jobs}
        held = self.held()
        for queue in QUEUES:
            for job_id in self.redis.lrange(f"rq:queue:{queue}", 0, -1):
                places[job_id.decode()].append("queued")
            for word in ("finished", "failed", "canceled"):
                for job_id in self.redis.zrange(f"rq:{word}:{queue}", 0, -1):
                    places[job_id.decode()].append(word)
        for job_id in self.redis.zrange("darkroom:leases", 0, -1):
            places[job_id.decode()].append("queued" if job_id.decode() in held else "started")
        assert places == {job_id: [job.status.rq] for job_id, job in jobs.items()}

    def running_jobs_have_one_holder(self) -> None:
        leased = [i.decode() for i in self.redis.zrange("darkroom:leases", 0, -1)]
        held = [i.decode() for e in ENGINES for i in self.redis.hvals(f"darkroom:engine:{e}")]
        wip = [m.decode() for q in QUEUES for m in self.redis.zrange(f"rq:wip:{q}", 0, -1)]
        begun = [member.split(":")[0] for member in wip]
        assert sorted(held) == sorted(leased) == sorted(begun + self.held())

    def jobs_that_wait_are_found_by_their_owners(self) -> None:
        each = [(queue, owner) for queue in QUEUES for owner in OWNERS]
        with self.redis.pipeline() as pipe:
            for queue, owner in each:
                pipe.lrange(f"rq:queue:{queue}", 0, -1)
                pipe.zrange(f"darkroom:owned:{queue}|{owner}", 0, -1)
                pipe.zrange(f"darkroom:owned_work:{queue}|{owner}", 0, -1)
                pipe.zscore(f"darkroom:owners:{queue}", owner)
                pipe.zscore(f"darkroom:turns:{queue}", owner)
                pipe.hget("darkroom:credits", f"{queue}|round")
            found = iter(pipe.execute())
        for _, owner in each:
            waiting, by_age, by_work, listed, turn, round_ = (next(found) for _ in range(6))
            theirs = {i for i in waiting if self.jobs[i.decode()].owner == owner}
            assert set(by_age) == set(by_work) == theirs
            assert (listed is not None) == bool(theirs)
            assert turn is None or 0 < turn - float(round_) <= 1

    def ends_once(self, job: Job, known: Known) -> None:
        events = self.redis.xrange(f"darkroom:events:{job.id}")
        done = [fields for _, fields in events if fields[b"event"] == b"done"]
        assert len(done) == int(job.status.terminal)
        assert len(known.committed) + known.canceled <= 1
        assert job.status.terminal or not (known.committed or known.canceled)

    def attempts_are_bounded_and_counted(self, job: Job, known: Known) -> None:
        assert job.attempts == known.begins - known.refunds
        assert 0 <= job.attempts <= MAX_ATTEMPTS

    def position_never_rises(self, job: Job, known: Known) -> None:
        if job.queue:
            assert job.queue.position <= known.position
            known.position = job.queue.position

    # Reading

    def all_jobs(self) -> dict[str, Job]:
        return {job.id: job for job in self.queue.page(limit=100).jobs}

    def any(self, status: str) -> bool:
        return any(job.status == status for job in self.seen.values())

    def held(self) -> list[str]:
        """Ids of the jobs that engines hold and have not begun."""
        return [i.decode() for q in QUEUES for i in self.redis.smembers(f"darkroom:claimed:{q}")]

    def listed(self) -> int:
        """How many jobs could be claimed."""
        going = [queue for queue in QUEUES if not self.paused.holds(queue[0])]
        return sum(self.redis.llen(f"rq:queue:{queue}") for queue in going)

    def is_paused(self, job_id: str) -> bool:
        return self.paused.holds(self.redis.hget(f"rq:job:{job_id}", "dr_model").decode())

    def queued(self) -> int:
        return sum(job.status == "queued" for job in self.all_jobs().values())

    def active(self, owner: str, jobs: dict[str, Job]) -> int:
        mine = [jobs[job_id] for job_id, known in self.jobs.items() if known.owner == owner]
        return sum(not job.status.terminal for job in mine)

    def spent_s(self, owner: str) -> float:
        return self.queue.carry_out(use(owner)).gpu_seconds

    def holds(self, claim: Claim) -> bool:
        return self.redis.hget(f"rq:job:{claim.job_id}", "dr_token") == claim.token.encode()


@pytest.mark.parametrize("examples", [20, pytest.param(1000, marks=pytest.mark.long)])
def test_promise_holds_in_any_order(redis: Redis, examples: int) -> None:
    QueueStates.redis = redis
    run_state_machine_as_test(
        QueueStates,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
