"""Messages are written with the change that they tell of, leased, and kept until they are done."""

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from darkroom.errors import JobNotFoundError
from darkroom.job import JobStatus
from darkroom.queue import api_keys, outbox
from darkroom.queue.claim import Claim
from darkroom.queue.exchange import run
from darkroom.queue.lua import Rules
from darkroom.queue.outbox import failed_messages, put_secret, report, secrets_of, send_again
from darkroom.queue.queue import Queue, queue_names
from darkroom.webhook import MOST_TO_HOST
from darkroom.webhook_messages import Message, new_secret
from tests.begun import begun

URL = "https://a.example/hook"
ALL = ["job.started", "job.succeeded", "job.failed", "job.canceled"]


@pytest.fixture
def queue(redis: Redis) -> Queue:
    return Queue(redis)


def submit(queue: Queue, url: str = URL, owner: str = "ann", **more: object) -> str:
    webhook = {"url": url, "events": more.pop("events", ALL)}
    return queue.submit({}, model="pix", owner=owner, webhook=webhook, **more).job.id


def begin(queue: Queue, engine: str = "e") -> Claim:
    claim = begun(queue, engine=engine, queues=queue_names(["pix"]))
    assert claim is not None
    return claim


def take(queue: Queue, most: int = 100, busy: tuple[str, ...] = ()) -> list[Message]:
    return queue.carry_out(outbox.take_messages("t", most, busy))


def told(queue: Queue) -> list[str]:
    messages = take(queue)
    for message in messages:
        assert queue.carry_out(report(message, "delivered"))
    return [message.type for message in messages]


def canceled(queue: Queue, url: str = URL, owner: str = "ann", count: int = 1) -> list[str]:
    """Jobs, each with a message that is due."""
    jobs = [submit(queue, url, owner) for _ in range(count)]
    for job in jobs:
        queue.cancel(job)
    return jobs


def end_leases(redis: Redis) -> None:
    """As if the time of all who send had passed."""
    for key in redis.keys("darkroom:outbox:sent:*"):
        for message in redis.zrange(key, 0, -1):
            redis.zadd(key, {message: 1})
        redis.zadd("darkroom:outbox", {key.removeprefix(b"darkroom:outbox:sent:"): 1})


def make_due(redis: Redis) -> None:
    """As if it was time for all messages that wait."""
    for key in redis.keys("darkroom:outbox:due:*"):
        for message in redis.zrange(key, 0, -1):
            redis.zadd(key, {message: 1})
        redis.zadd("darkroom:outbox", {key.removeprefix(b"darkroom:outbox:due:"): 1})


def nothing_is_left(redis: Redis) -> bool:
    return not (redis.keys("darkroom:outbox*") or redis.keys("darkroom:message:*"))


def test_a_job_shows_its_webhook(queue: Queue) -> None:
    webhook = queue.fetch(submit(queue, events=["job.failed"])).webhook
    assert webhook is not None
    assert (webhook.url, webhook.events) == (URL, ["job.failed"])
    assert queue.submit({}, model="pix").job.webhook is None


def test_each_way_of_a_job_is_told(queue: Queue) -> None:
    job = submit(queue)
    claim = begin(queue)
    [message] = take(queue)
    assert (message.type, message.job_id, message.url) == ("job.started", job, URL)
    assert message.id == f"msg_{job.removeprefix('job_')}_1"
    assert message.job is not None
    assert message.job.status is JobStatus.RUNNING
    queue.carry_out(report(message, "delivered"))
    queue.finish(claim, JobStatus.SUCCEEDED)
    assert told(queue) == ["job.succeeded"]
    submit(queue)
    queue.finish(begin(queue), JobStatus.FAILED)
    assert told(queue) == ["job.started", "job.failed"]
    queue.cancel(submit(queue))
    assert told(queue) == ["job.canceled"]
    submit(queue, deadline_s=0.001)
    while not queue.expire_deadlines():
        pass
    assert told(queue) == ["job.canceled"]
    submit(queue)
    queue.end_abandoned([], 0)
    assert told(queue) == ["job.failed"]


def test_a_job_that_is_poison_is_told(redis: Redis) -> None:
    queue = Queue(redis, Rules(max_attempts=1))
    submit(queue, events=["job.failed"])
    begin(queue, "dies")
    queue.reap("dies")
    assert told(queue) == ["job.failed"]


def test_only_what_was_chosen_is_told_and_once(queue: Queue, redis: Redis) -> None:
    queue.submit({}, model="pix")
    submit(queue, events=["job.canceled"])
    for _ in range(2):
        claim = begin(queue)
        queue.finish(claim, JobStatus.SUCCEEDED)
        assert queue.finish(claim, JobStatus.SUCCEEDED) == "already"
    assert nothing_is_left(redis)
    submit(queue, events=["job.started"])
    claim = begin(queue)
    queue.begin(claim, "worker")
    assert told(queue) == ["job.started"]


def test_what_is_taken_is_nobody_elses_until_its_lease_ends(queue: Queue, redis: Redis) -> None:
    canceled(queue)
    [message] = take(queue)
    assert take(queue) == []
    end_leases(redis)
    [again] = queue.carry_out(outbox.take_messages("other", 9))
    assert again.id == message.id
    assert not queue.carry_out(report(message, "delivered"))
    assert queue.carry_out(report(again, "delivered"))
    assert nothing_is_left(redis)
    assert queue.counters()["webhooks", "delivered"] == 1


def test_what_was_not_taken_is_sent_again_in_its_time(queue: Queue, redis: Redis) -> None:
    canceled(queue)
    [message] = take(queue)
    queue.carry_out(report(message, "again", "It was busy.", 60))
    assert take(queue) == []
    make_due(redis)
    [again] = take(queue)
    assert (again.id, again.attempts) == (message.id, 1)


def test_messages_to_one_host_are_bounded_and_hold_up_no_others(queue: Queue) -> None:
    canceled(queue, count=MOST_TO_HOST + 2)
    canceled(queue, "https://b.example/")
    canceled(queue, owner="bob")
    first = take(queue)
    assert len(first) == MOST_TO_HOST + 2
    assert take(queue) == []
    queue.carry_out(report(first[0], "delivered"))
    assert [message.url for message in take(queue)] == [URL]


def test_hosts_and_owners_take_turns(queue: Queue) -> None:
    canceled(queue, count=4)
    canceled(queue, "https://b.example/", count=4)
    canceled(queue, owner="bob", count=4)
    taken = [take(queue, 2)[0] for _ in range(3)]
    assert len({(message.owner, message.url) for message in taken}) == 3


def test_owners_of_whom_enough_is_sent_are_passed_over(queue: Queue) -> None:
    canceled(queue)
    canceled(queue, owner="bob")
    assert [message.owner for message in take(queue, busy=("ann",))] == ["bob"]
    assert [message.owner for message in take(queue)] == ["ann"]


def test_what_is_given_up_can_be_sent_again_by_its_owner_alone(queue: Queue, redis: Redis) -> None:
    [job] = canceled(queue)
    [message] = take(queue)
    queue.carry_out(report(message, "failed", "It answered 500."))
    assert take(queue) == []
    assert queue.carry_out(failed_messages("bob", 9)) == []
    [failed] = queue.carry_out(failed_messages("ann", 9))
    assert (failed.id, failed.job_id, failed.url) == (message.id, job, URL)
    assert (failed.attempts, failed.why) == (1, "It answered 500.")
    assert failed.failed_at is not None
    assert queue.carry_out(send_again(message.id, "bob")) is None
    assert queue.carry_out(send_again("msg_1", "ann")) is None
    for _ in range(2):  # a repeat changes nothing
        sent = queue.carry_out(send_again(message.id, "ann"))
        assert sent is not None
        assert sent.failed_at is None
    assert queue.carry_out(failed_messages("ann", 9)) == []
    [again] = take(queue)
    assert (again.id, again.attempts) == (message.id, 0)
    queue.carry_out(report(again, "delivered"))
    assert nothing_is_left(redis)


def test_a_receiver_that_wants_no_more_is_told_no_more_of_the_job(queue: Queue) -> None:
    job = submit(queue)
    claim = begin(queue)
    [message] = take(queue)
    queue.carry_out(report(message, "gone", "It answered 410."))
    queue.finish(claim, JobStatus.SUCCEEDED)
    assert take(queue) == []
    assert queue.fetch(job).webhook is None
    assert len(queue.carry_out(failed_messages("ann", 9))) == 1


def test_of_a_deleted_job_nothing_but_its_end_is_told(queue: Queue) -> None:
    job = submit(queue)
    queue.delete(job)
    [message] = take(queue)
    assert (message.job, message.job_id, message.status) == (None, job, "canceled")
    with pytest.raises(JobNotFoundError):
        queue.fetch(job)


def test_too_many_messages_end_with_the_oldest(
    queue: Queue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.queue.lua.MOST_MESSAGES", 2)
    monkeypatch.setattr("darkroom.queue.lua.MOST_FAILED", 1)
    queue = Queue(redis)
    jobs = canceled(queue, count=4)
    assert [message.job_id for message in take(queue)] == jobs[2:]
    [failed] = queue.carry_out(failed_messages("ann", 9))
    assert (failed.job_id, failed.why) == (jobs[1], "Too many messages wait to be sent.")
    assert len(redis.keys("darkroom:message:*")) == 3


def test_a_secret_is_rotated_with_overlap(queue: Queue) -> None:
    assert queue.carry_out(secrets_of("ann")) is None
    first, second = new_secret(), new_secret()
    kept = queue.carry_out(put_secret("ann", first, 60))
    assert (kept.current, kept.previous) == (first, None)
    for _ in range(2):  # a repeat changes nothing
        kept = queue.carry_out(put_secret("ann", second, 60))
        assert kept.at(datetime.now(UTC)) == [second, first]
    assert kept.at(datetime.now(UTC) + timedelta(seconds=61)) == [second]
    assert queue.carry_out(secrets_of("ann")) == kept
    assert queue.carry_out(put_secret("ann", first, 0)).at(datetime.now(UTC)) == [first]
    canceled(queue)
    canceled(queue, owner="bob")
    assert {each.owner: each.secrets is not None for each in take(queue)} == {
        "ann": True,
        "bob": False,
    }


def test_a_revoked_key_signs_nothing_more(queue: Queue) -> None:
    queue.carry_out(put_secret("ann", new_secret(), 60))
    queue.carry_out(api_keys.remove("ann"))
    assert queue.carry_out(secrets_of("ann")) is None


@pytest.mark.parametrize(
    "kept",
    ["", "x", "[]", '{"host": 1}', '{"host": "a", "events": 1}', '{"events": ["job.canceled"]}'],
)
def test_a_webhook_that_cannot_be_read_keeps_no_job_from_its_end(
    queue: Queue, redis: Redis, kept: str
) -> None:
    job = submit(queue)
    redis.hset(f"rq:job:{job}", "dr_webhook", kept)
    queue.carry_out(run("cancel", job))
    assert redis.hget(f"rq:job:{job}", "status") == b"canceled"
    assert take(queue) == []


def test_a_full_redis_keeps_no_message_from_being_written(queue: Queue, redis: Redis) -> None:
    job = submit(queue)
    redis.config_set("maxmemory", 1)
    queue.cancel(job)
    [message] = take(queue)
    assert queue.carry_out(report(message, "failed"))
    assert queue.carry_out(send_again(message.id, "ann")) is not None
