from collections.abc import Callable

import pytest
from redis import Redis

from darkroom.events import Previewed
from darkroom.job import JobStatus
from darkroom.queue.claim import Claim
from darkroom.queue.previews import LONGEST_KEPT_S, Preview, latest
from darkroom.queue.queue import Queue, queue_names
from tests.begun import begun


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def start(queue: Queue, token: str = "t") -> Claim:
    return begun(queue, queues=queue_names(["pix"]), token=token)


def show(queue: Queue, claim: Claim, picture: bytes, step: int = 1) -> None:
    event = Previewed(url="/", width=8, height=8, step=step, steps=4)
    queue.show([Preview(claim, event, picture)])


def seen(queue: Queue, job_id: str) -> bytes | None:
    return queue.carry_out(latest(job_id))


def test_the_latest_takes_the_place_of_the_one_before(queue: Queue, redis: Redis) -> None:
    job_id = queue.submit({}, model="pix").job.id
    assert seen(queue, job_id) is None
    claim = start(queue)
    for picture in (b"\x00one", b"\xfftwo"):
        show(queue, claim, picture)
        assert seen(queue, job_id) == picture
    (key,) = redis.keys("darkroom:preview:*")
    assert 0 < redis.ttl(key) <= LONGEST_KEPT_S


ENDS: dict[str, Callable[[Queue, Claim], object]] = {
    "finished": lambda queue, claim: queue.finish(claim, JobStatus.SUCCEEDED),
    "canceled": lambda queue, claim: queue.cancel(claim.job_id),
    "deleted": lambda queue, claim: queue.delete(claim.job_id),
    "released": lambda queue, claim: queue.release(claim),
    "its engine died": lambda queue, _: queue.reap("e"),
}


@pytest.mark.parametrize("end", ENDS)
def test_it_goes_with_what_it_shows(queue: Queue, redis: Redis, end: str) -> None:
    queue.submit({}, model="pix")
    claim = start(queue)
    show(queue, claim, b"one")
    ENDS[end](queue, claim)
    assert redis.keys("darkroom:preview:*") == []
    told = redis.xlen(f"darkroom:events:{claim.job_id}")
    show(queue, claim, b"late")
    assert redis.keys("darkroom:preview:*") == []
    assert redis.xlen(f"darkroom:events:{claim.job_id}") == told


def test_of_several_the_engine_s_own_are_shown(queue: Queue) -> None:
    ids = [queue.submit({}, model="pix").job.id for _ in range(2)]
    claims = [start(queue, token) for token in "ab"]
    queue.cancel(claims[0].job_id)
    event = Previewed(url="/", width=8, height=8, step=1, steps=4)
    queue.show(Preview(claim, event, claim.token.encode()) for claim in claims)
    assert {job: seen(queue, job) for job in ids} == {
        claims[0].job_id: None,
        claims[1].job_id: b"b",
    }


@pytest.mark.parametrize(("asked", "claimed"), [(None, None), (False, 0), (True, 1), (5, 5)])
def test_what_was_asked_for_reaches_the_engine(
    queue: Queue, asked: int | None, claimed: int | None
) -> None:
    queue.submit({}, model="pix", preview=asked)
    assert start(queue).preview == claimed


def test_what_was_planted_is_as_if_nothing_was_asked_for(queue: Queue, redis: Redis) -> None:
    job_id = queue.submit({}, model="pix").job.id
    redis.hset(f"rq:job:{job_id}", "dr_preview", "\u0661e9")
    assert start(queue).preview is None
