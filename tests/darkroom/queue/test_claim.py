"""A claim out of the answer of the script, and what is planted in Redis by hand."""

import pytest
from redis import Redis

from darkroom.job import JobStatus
from darkroom.queue.claim import Claim, claim_of
from darkroom.queue.job_hash import LONGEST_DATA
from darkroom.queue.queue import Queue
from tests.begun import begun

FIELDS = {
    "status": "started",
    "dr_attempt": "2",
    "dr_created": "100.0",
    "dr_started": "107.5",
    "dr_deadline": "120.0",
    "dr_priority": "high",
    "dr_spent": '{"load": 1.5, "denoise": 2}',
    "dr_warnings": '["slow"]',
}


def answer(**changes: str) -> list[object]:
    flat = [part.encode() for pair in {**FIELDS, **changes}.items() for part in pair]
    return [b"job_1", b"108.0", b"", 0, flat]


def test_a_claim_says_what_its_job_went_through() -> None:
    claim, fields = claim_of(answer(), "token")
    assert claim == Claim(
        job_id="job_1",
        token="token",
        request={},
        attempt=2,
        remaining_s=12.0,
        queued_s=4.0,
        began=True,
        priority="high",
        spent={"load": 1.5, "denoise": 2.0},
        warnings=("slow",),
    )
    assert fields == FIELDS


@pytest.mark.parametrize("warnings", ["{", "5", "", "[" * 100_000])
def test_warnings_that_cannot_be_read_are_none(warnings: str) -> None:
    assert claim_of(answer(dr_warnings=warnings), "token")[0].warnings == ()


@pytest.mark.parametrize(
    ("weight", "read"), [("3", 3), ("2.5", 2.5), ("0", 1), ("x", 1), ("inf", 1), ("nan", 1)]
)
def test_what_is_no_weight_is_one(weight: str, read: float) -> None:
    assert claim_of(answer(dr_weight=weight), "token")[0].weight == read


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def claim(queue: Queue) -> Claim | None:
    return begun(queue, queues=["m.normal"])


@pytest.mark.parametrize(
    "changes",
    [
        {"dr_attempt": "9" * 30},
        {"dr_attempt": "-1"},
        {"dr_attempt": "1e3"},
        {"dr_attempt": None},
        {"dr_created": "inf"},
        {"dr_created": "nan"},
        {"dr_created": "0x10"},
        {"dr_created": ""},
        {"dr_queued": "yesterday"},
        {"dr_ticket": "1e999"},
        {"dr_deadline": "nan"},
        {"dr_priority": "urgent"},
        {"dr_priority": None},
        {"dr_owner": None},
        {"dr_model": None},
        {"data": None},
        {"data": ""},
        {"data": b"\xff\xfe"},
        {"data": "[" * 100_000},
        {"data": '["os.system", null, [{}], {}]'},
        {"data": "x" * (LONGEST_DATA + 1)},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_what_darkroom_did_not_write_fails_and_lets_the_next_go_on(
    queue: Queue, redis: Redis, changes: dict[str, str | bytes | None]
) -> None:
    planted = queue.submit({"task": "text-to-image"}, model="m").job.id
    good = queue.submit({"task": "text-to-image"}, model="m").job.id
    for name, value in changes.items():
        if value is None:
            redis.hdel(f"rq:job:{planted}", name)
        else:
            redis.hset(f"rq:job:{planted}", name, value)
    got = claim(queue)
    assert got is not None
    assert got.job_id == good
    assert redis.hget(f"rq:job:{planted}", "status") == b"failed"
    assert b"malformed_job" in redis.hget(f"rq:job:{planted}", "dr_error")
    assert good in [job.id for job in queue.page(limit=10).jobs]
    queue.reap("e")
    assert claim(queue).job_id == good


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", None),
        ("origin", "elsewhere"),
        ("dr_warnings", "{"),
        ("dr_tags", "5"),
        ("dr_metadata", "[" * 100_000),
        ("dr_progress", "x"),
        ("dr_started", "nan"),
        ("dr_images", "{"),
        ("dr_expires", "x"),
        (b"\xff", b"\xff"),
        ("dr_token", "somebody"),
    ],
)
def test_other_garbage_in_a_hash_harms_nobody(
    queue: Queue, redis: Redis, name: str | bytes, value: str | bytes | None
) -> None:
    planted = queue.submit({"task": "text-to-image"}, model="m", tags=["a"]).job.id
    good = queue.submit({"task": "text-to-image"}, model="m", tags=["a"]).job.id
    key = f"rq:job:{planted}"
    redis.hdel(key, name) if value is None else redis.hset(key, name, value)
    assert [claim(queue).job_id, claim(queue).job_id] == [planted, good]
    for tag in (None, "a"):
        assert good in [job.id for job in queue.page(limit=10, tag=tag).jobs]
    queue.reap("e")
    queue.image_ids()
    again = claim(queue)
    queue.release(again)
    last = claim(queue)
    assert queue.finish(last, JobStatus.FAILED) == "committed"
