"""What the queue's scripts really emit, in every transition, is what events.py says."""

import json
import re
from collections.abc import Callable
from importlib import resources

import pytest
from redis import Redis

from darkroom.events import EVENTS, Logged, Previewed, kind_of
from darkroom.job import ImageRecord, JobError, JobStatus, Progress
from darkroom.queue.lua import Rules
from darkroom.queue.previews import Preview
from darkroom.queue.queue import Claim, News, Queue, queue_names
from tests.begun import begun

IMAGE = ImageRecord(
    id="img_1", url="/", width=8, height=8, seed=1, bytes=3, sha256="0" * 64, reproducibility={}
)


PREVIEW = Previewed(url="/preview", width=8, height=8, step=1, steps=4)
LOG = Logged(level="warning", message="The prompt was cut.")


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis, Rules(max_attempts=2))


def submit(queue: Queue, **terms: object) -> str:
    return queue.submit({}, model="pix", **terms).job.id


def claim(queue: Queue, token: str = "t") -> Claim:
    return begun(queue, queues=queue_names(["pix"]), token=token)


def begin(queue: Queue) -> Claim:
    submit(queue)
    return claim(queue)


def end(queue: Queue, status: JobStatus, **result: object) -> None:
    assert queue.finish(begin(queue), status, **result) == "committed"


def take_down_two_workers(queue: Queue) -> None:
    submit(queue)
    for token in "ab":
        claim(queue, token)
        queue.reap("e")


def pass_a_deadline(queue: Queue) -> None:
    submit(queue, deadline_s=0)
    queue.expire_deadlines()


def claim_what_cannot_be_read(queue: Queue) -> None:
    queue.redis.hset(f"rq:job:{submit(queue)}", "data", "x")
    assert claim(queue) is None


LIVES: dict[str, tuple[Callable[[Queue], object], list[str]]] = {
    "released": (lambda q: q.release(begin(q)), ["queued", "running 1", "queued"]),
    "reaped": (
        take_down_two_workers,
        ["queued", "running 1", "queued", "running 2", "failed poison"],
    ),
    "late": (pass_a_deadline, ["queued", "canceled deadline_exceeded"]),
    "malformed": (claim_what_cannot_be_read, ["queued", "failed malformed_job"]),
    "canceled while queued": (lambda q: q.cancel(submit(q)), ["queued", "canceled"]),
    "canceled while running": (
        lambda q: q.cancel(begin(q).job_id),
        ["queued", "running 1", "canceled"],
    ),
    "in progress": (
        lambda q: q.tell([News(begin(q), Progress(stage="denoise", step=1, steps=2, eta_s=0.5))]),
        ["queued", "running 1", "denoise"],
    ),
    "with a preview": (
        lambda q: q.show([Preview(begin(q), PREVIEW, b"x")]),
        ["queued", "running 1", "/preview"],
    ),
    "with a log": (
        lambda q: q.tell([News(begin(q), LOG)]),
        ["queued", "running 1", "The prompt was cut."],
    ),
    "with news at its end": (
        lambda q: end(q, JobStatus.SUCCEEDED, images=[IMAGE], news=[LOG, Progress(stage="save")]),
        ["queued", "running 1", "The prompt was cut.", "save", "img_1", "succeeded"],
    ),
    "succeeded": (
        lambda q: end(q, JobStatus.SUCCEEDED, images=[IMAGE, IMAGE]),
        ["queued", "running 1", "img_1", "img_1", "succeeded"],
    ),
    "failed": (
        lambda q: end(q, JobStatus.FAILED, error=JobError(code="out_of_memory", message=".")),
        ["queued", "running 1", "failed out_of_memory"],
    ),
}


def summary(event: dict[str, object]) -> str:
    names = ("status", "stage", "message", "id", "url")
    word = next(event[name] for name in names if name in event)
    rest = event.get("attempt") or event.get("code")
    return f"{word} {rest}" if rest else str(word)


@pytest.mark.parametrize("life", LIVES)
def test_each_event_is_of_a_kind_that_is_listed(queue: Queue, redis: Redis, life: str) -> None:
    live, expected = LIVES[life]
    live(queue)
    (stream,) = redis.keys("darkroom:events:*")
    told = []
    for _, fields in redis.xrange(stream):
        data = json.loads(fields[b"data"])
        event = EVENTS[fields[b"event"].decode()].model_validate_json(fields[b"data"])
        assert event.model_dump(mode="json", exclude_unset=True) == data
        told.append(summary(data))
    assert told == expected


def test_the_scripts_emit_the_kinds_that_are_listed() -> None:
    lua = resources.files("darkroom.queue.lua").iterdir()
    texts = "".join(file.read_text() for file in lua if file.name.endswith(".lua"))
    emitted = set(re.findall(r"\bemit\(\w+, '(\w+)'", texts))
    told_by_the_service, told_by_engines = {"error", "missed"}, {"progress", "log"}
    assert emitted | told_by_the_service | told_by_engines == set(EVENTS)


def test_an_event_says_of_which_kind_it_is() -> None:
    assert [kind_of(cls.model_construct()) for cls in EVENTS.values()] == list(EVENTS)
    with pytest.raises(LookupError):
        kind_of(JobError(code="internal", message="."))
