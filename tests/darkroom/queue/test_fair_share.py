"""Owners of one queue take turns, in the script that claims."""

import json
import time
from collections import Counter
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from darkroom.job import JobStatus
from darkroom.queue.lua import Rules
from darkroom.queue.queue import Claim, Queue, queue_names
from tests.begun import begun

QUEUES = queue_names(["m"])


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis, Rules(max_queued=100_000))


def submit(queue: Queue, owner: str, count: int = 1, **options: object) -> list[str]:
    """Their ids."""
    terms = {"model": "m", "owner": owner, **options}
    return [queue.submit({"seed": n}, **terms).job.id for n in range(count)]


def claims(queue: Queue, count: int, engine: str = "e") -> list[str]:
    """Ids of the next jobs; all of them stay in the engine's hands."""
    found = (queue.claim(engine=engine, queues=QUEUES, token=uuid4().hex) for _ in range(count))
    return [claim.job_id for claim in found if claim]


def owners(queue: Queue, jobs: list[str]) -> str:
    return "".join(queue.redis.hget(f"rq:job:{job}", "dr_owner").decode() for job in jobs)


def test_who_comes_after_a_greedy_one_need_not_wait_for_them(queue: Queue) -> None:
    """Not even where each of their jobs is longer than each of the others."""
    submit(queue, "greedy", 500, work_s=2.0)
    claims(queue, 20)
    for work_s in (0.5, 40.0):
        five = submit(queue, "modest", 5, work_s=work_s)
        taken = claims(queue, 5, "e-1") + claims(queue, 5, "e-2")  # of two hosts
        assert set(five) <= set(taken)


def test_owners_take_turns(queue: Queue) -> None:
    for owner in "abc":
        submit(queue, owner, 4)
    assert owners(queue, claims(queue, 12)) == "abc" * 4


def weigh(queue: Queue, owner: str, weight: object) -> None:
    key = json.dumps({"limits": {"weight": weight}}) if weight != "torn" else "{"
    queue.redis.hset("darkroom:keys", owner, key)


@given(
    weights=st.lists(st.integers(1, 100), min_size=2, max_size=4),
    late=st.integers(0, 20),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_turns_are_had_in_proportion_to_weights(
    queue: Queue, weights: list[int], late: int
) -> None:
    """Of n jobs that are taken, each has its share, give or take one; also who comes late."""
    queue.redis.flushdb()
    names = "abcd"[: len(weights)]
    for owner, weight in zip(names, weights, strict=True):
        weigh(queue, owner, weight)
        submit(queue, owner, 60 if owner == "a" else 0)
    claims(queue, late)
    for owner in names[1:]:
        submit(queue, owner, 40)
    had = Counter(owners(queue, claims(queue, 40)))
    for owner, weight in zip(names, weights, strict=True):
        assert abs(had[owner] - 40 * weight / sum(weights)) <= 2, had


@pytest.mark.parametrize("weight", [None, 0, -3, "5x", [], {}, "torn"])
def test_what_is_no_weight_counts_as_one(queue: Queue, weight: object) -> None:
    weigh(queue, "a", weight)
    for owner in "ab":
        submit(queue, owner, 4)
    assert owners(queue, claims(queue, 8)) == "abababab"


def test_a_claim_tells_whose_job_it_is_and_what_is_due_to_them(queue: Queue) -> None:
    weigh(queue, "a", 3)
    for owner in "ab":
        submit(queue, owner)
    found = [queue.claim(engine="e", queues=QUEUES, token=uuid4().hex) for _ in "ab"]
    begun = [queue.begin(claim, "w") for claim in found if claim]
    for of_owners in (found, begun):
        assert [(each.owner, each.weight) for each in of_owners if each] == [("a", 3), ("b", 1)]


def test_of_who_has_enough_only_jobs_of_high_priority_are_taken(queue: Queue) -> None:
    submit(queue, "many", 50)
    few = submit(queue, "few")
    urgent = submit(queue, "many", priority="high")
    about = {"engine": "e", "queues": QUEUES, "enough": ["many", ""]}
    taken = [queue.claim(token=uuid4().hex, **about) for _ in range(3)]
    assert [claim and claim.job_id for claim in taken] == [*urgent, *few, None]


def test_a_weight_holds_from_now_on(queue: Queue) -> None:
    for owner in "ab":
        submit(queue, owner, 30)
    assert Counter(owners(queue, claims(queue, 8))) == {"a": 4, "b": 4}
    weigh(queue, "a", 3)
    assert abs(Counter(owners(queue, claims(queue, 16)))["a"] - 12) <= 1


@pytest.mark.parametrize("lead", [0, 3, 25])
def test_who_has_five_jobs_is_done_within_twice_the_time_that_they_would_have_alone(
    queue: Queue, lead: int
) -> None:
    """By an engine that makes one job at a time, in 10 steps. A greedy owner has 500 of them,
    and was served for a while."""
    alone = Simulated(queue, steps=10)
    five = submit(queue, "modest", 5)
    idle_s = alone.until_done(five)
    queue.redis.flushdb()
    shared = Simulated(queue, steps=10)
    submit(queue, "greedy", 500)
    shared.run(lead)
    began = shared.now
    five = submit(queue, "modest", 5)
    assert shared.until_done(five) - began <= 2 * idle_s


class Simulated:
    """An engine without a device, whose clock goes on by one for each step."""

    def __init__(self, queue: Queue, steps: int) -> None:
        self._queue, self._steps = queue, steps
        self._claim: Claim | None = None
        self._left = 0
        self.now = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self._claim is None:
                self._claim, self._left = begun(self._queue, queues=QUEUES), self._steps
            self.now += 1
            self._left -= 1
            if not self._left and self._claim:
                self._queue.finish(self._claim, JobStatus.SUCCEEDED)
                self._claim = None

    def until_done(self, wanted: list[str]) -> int:
        while any(not self._queue.fetch(job_id).status.terminal for job_id in wanted):
            self.run(1)
        return self.now


def test_who_asks_for_one_at_a_time_gets_no_more_than_their_turns(queue: Queue) -> None:
    submit(queue, "g", 30)
    claims(queue, 5)
    taken = ""
    for _ in range(10):
        submit(queue, "m")
        taken += owners(queue, claims(queue, 2))
    assert taken.count("g") >= 9
    assert "mmm" not in taken


def test_nobody_is_paid_back_for_the_time_in_which_they_asked_for_nothing(queue: Queue) -> None:
    submit(queue, "a", 60)
    claims(queue, 40)
    submit(queue, "b", 20)
    assert Counter(owners(queue, claims(queue, 20))) == {"a": 10, "b": 10}


def test_turns_are_taken_within_a_queue(queue: Queue) -> None:
    """A higher priority goes first, whoever had more of it."""
    submit(queue, "a", 4, priority="high")
    claims(queue, 2)
    submit(queue, "b", 2)
    assert owners(queue, claims(queue, 4)) == "aabb"


def test_within_an_owner_the_short_go_first_and_the_oldest_after_seven(queue: Queue) -> None:
    (long,) = submit(queue, "a", work_s=500.0)
    submit(queue, "a", 20, work_s=0.1)
    submit(queue, "b", 40, work_s=0.1)
    assert claims(queue, 20).index(long) in (14, 15), "their eighth"


def test_who_may_not_have_their_job_now_lets_others_go_on(queue: Queue, redis: Redis) -> None:
    """Their only job rests, or is too young for an engine that is busy."""
    submit(queue, "a", 5)
    claims(queue, 5)
    (rests,) = submit(queue, "b")
    submit(queue, "a", 2)
    redis.hset(f"rq:job:{rests}", "dr_rests_until", f"{time.time() + 60:.3f}")
    assert owners(queue, claims(queue, 3)) == "aa"


def test_what_was_given_back_canceled_or_ended_leaves_no_owner_behind(
    queue: Queue, redis: Redis
) -> None:
    for owner in "abcd":
        submit(queue, owner, 2)
    released, ended, canceled, reaped = (begun(queue, queues=QUEUES) for _ in range(4))
    queue.release(released)
    queue.finish(ended, JobStatus.SUCCEEDED)
    queue.cancel(canceled.job_id)
    queue.reap("e")
    kept = [job.id for job in queue.page().jobs if not job.status.terminal]
    assert len(kept) == 6
    assert {released.job_id, reaped.job_id} <= set(kept)
    assert redis.zcard("darkroom:owners:m.normal") == 4
    for job_id in kept[:3]:
        queue.cancel(job_id)
    for job_id in kept[3:]:
        queue.delete(job_id)
    assert not redis.keys("darkroom:own*")
    assert claims(queue, 1) == []


def test_jobs_of_an_earlier_version_are_found(queue: Queue, redis: Redis) -> None:
    """They have no index by owner, and neither have those that RQ's tools queued again."""
    old = submit(queue, "a", 100)
    redis.delete(*redis.keys("darkroom:own*"))
    new = submit(queue, "b", 5)
    taken = claims(queue, 105)
    assert sorted(taken) == sorted(old + new)
    assert set(new) <= set(taken[:10])


def test_ids_that_are_no_jobs_any_more_are_passed_over(queue: Queue, redis: Redis) -> None:
    gone = submit(queue, "a", 70)
    kept = submit(queue, "a", 2) + submit(queue, "b", 2)
    redis.delete(*(f"rq:job:{job_id}" for job_id in gone))
    assert sorted(claims(queue, 10)) == sorted(kept)
    assert not redis.keys("darkroom:own*")


def test_a_claim_is_cheap_however_many_wait(queue: Queue, redis: Redis) -> None:
    """In what Redis has to do, whose time depends on what else the machine does."""

    def commands(count: int = 10) -> float:
        redis.config_resetstat()
        claims(queue, count)
        after = redis.info("commandstats")
        return sum(row["calls"] for row in after.values()) / count

    submit(queue, "a", 70)
    few = commands()
    for owner in range(60):
        submit(queue, f"b{owner}", 10)
    assert commands() < 1.5 * few
