"""`GET /events`: all jobs of who asks in one stream, which lasts, and takes up where it broke."""

import contextlib
import json
import threading
from collections.abc import Iterator
from itertools import islice

import httpx2
import pytest

from darkroom.job import Progress
from darkroom.queue import api_keys
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.queue import News
from tests.service.conftest import bearer
from tests.service.test_streaming import events
from tests.waiting import until

EVENTS, JOBS = "/api/v1/events", "/api/v1/jobs"


@contextlib.contextmanager
def following(http: httpx2.Client, **asked) -> Iterator[Iterator[dict[str, str]]]:
    """A stream whose beginning has come; its events."""
    with http.stream("GET", EVENTS, **asked) as response:
        assert response.status_code == 200
        yield events(response)


def told(event: dict[str, str]) -> tuple[str, str]:
    return event["event"], json.loads(event["data"])["job_id"]


def submit(http, headers=None) -> str:
    return http.post(JOBS, json={"prompt": "a cat"}, headers=headers).json()["id"]


def up_to(stream: Iterator[dict[str, str]], *last: str) -> list[tuple[str, str]]:
    """The events up to this one."""
    seen: list[tuple[str, str]] = []
    while not seen or seen[-1] != last:
        seen.append(told(next(stream)))
    return seen


def test_what_happens_to_several_jobs_comes_in_one_stream(api, work):
    before = submit(api)
    with following(api) as stream:
        assert set(next(stream)) == {"id"}
        first, second = submit(api), submit(api)
        work.all()
        claim = work.claim()
        assert claim.job_id == first
        work.queue.tell([News(claim, Progress(stage="denoise", step=1, steps=2, ratio=0.5))])
        work.finish(claim)
        seen = [told(event) for event in islice(stream, 8)]
        done = next(stream)
    assert seen == [
        ("status", first),
        ("status", second),
        ("status", before),
        ("image", before),
        ("done", before),
        ("status", first),
        ("progress", first),
        ("image", first),
    ]
    assert told(done) == ("done", first)
    data = json.loads(done["data"])
    assert (data["status"], data["code"]) == ("succeeded", None)
    assert data["job"] == api.get(f"{JOBS}/{first}").json()


def test_who_comes_back_hears_each_event_once(api, work, jobs):
    with following(api) as stream:
        beginning = next(stream)["id"]
    first = submit(api)
    with following(api, headers={"Last-Event-ID": beginning}) as stream:
        assert next(stream) == {"id": beginning}
        event = next(stream)
        assert told(event) == ("status", first)
    work.all()
    second = submit(api)
    for asked in ({"headers": {"Last-Event-ID": event["id"]}}, {"params": {"after": event["id"]}}):
        with following(api, **asked) as stream:
            next(stream)
            seen = up_to(stream, "status", second)
        assert seen == [
            ("status", first),
            ("image", first),
            ("done", first),
            ("status", second),
        ]
    with following(api, params={"after": "0-0"}) as stream:
        next(stream)
        assert len(up_to(stream, "status", second)) == 5
    jobs.delete(first)
    with following(api, params={"after": "0-0"}) as stream:
        next(stream)
        done = [json.loads(event["data"]) for event in islice(stream, 4)][-1]
    assert (done["job_id"], done["status"], done["job"]) == (first, "succeeded", None)


def test_a_gap_is_told(api):
    submit(api)
    with following(api, params={"after": "1-0"}) as stream:
        gap = next(stream)
        assert (gap["event"], gap["id"]) == ("missed", "1-0")
        assert "list the jobs" in json.loads(gap["data"])["message"]
        assert next(stream)["event"] == "status"


@pytest.mark.parametrize("event_id", ["x", "1-2-3", "-"])
def test_event_ids_that_cannot_be(api, event_id):
    response = api.get(EVENTS, headers={"Last-Event-ID": event_id})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/header/last-event-id"


def test_a4_another_key_hears_nothing(http, made, guarded_work):
    ann, bob = made("ann"), made("bob")
    admin = made("admin", ("admin",))
    with contextlib.ExitStack() as streams:

        def follow(token, **params) -> Iterator[dict[str, str]]:
            asked = {"headers": bearer(token), "params": params}
            stream = streams.enter_context(following(http, **asked))
            next(stream)
            return stream

        of_all, of_ann, of_bob = follow(admin), follow(admin, owner=ann.id), follow(bob)
        anns = submit(http, bearer(ann))
        guarded_work.all()
        bobs = submit(http, bearer(bob))
        assert told(next(of_bob)) == ("status", bobs)
        lives = [(kind, anns) for kind in ("status", "status", "image", "done")]
        assert up_to(of_all, "status", bobs) == [*lives, ("status", bobs)]
        last = submit(http, bearer(ann))
        assert up_to(of_ann, "status", last) == [*lives, ("status", last)]
        everything = follow(bob, after="0-0")
        assert told(next(everything)) == ("status", bobs)


def test_the_events_of_another_owner_take_the_scope_admin(http, made):
    ann, bob = made("ann"), made("bob")
    for owner in (ann.id, "nobody"):
        refused = http.get(EVENTS, params={"owner": owner}, headers=bearer(bob))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    with following(http, params={"owner": bob.id}, headers=bearer(bob)) as stream:
        next(stream)


def test_a6_a_revoked_key_ends_its_stream(http, made, guarded, redis):
    token = made()
    with following(http, headers=bearer(token)) as stream:
        next(stream)
        until(lambda: guarded.here.feed.waiters)
        Client(redis, scripts(PLAIN_RULES)).carry_out(api_keys.remove(token.id))
        (last,) = stream
    assert (last["event"], json.loads(last["data"])["retryable"]) == ("error", False)


def test_a_service_that_ends_says_so(serving, valkey, redis, tmp_path):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path)
    with (
        httpx2.Client(base_url=served.url, timeout=20) as http,
        following(http) as stream,
    ):
        next(stream)
        served.server.should_exit = True
        (last,) = stream
    assert (last["event"], last["retry"]) == ("error", "3000")
    assert json.loads(last["data"])["code"] == "shutting_down"


def test_it_has_a_place_among_those_who_wait(serving, valkey, redis, tmp_path):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path, max_waiting=1)
    with httpx2.Client(base_url=served.url, timeout=20) as http:
        with following(http):
            refused = http.get(EVENTS)
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")


def test_many_who_follow_cost_one_connection_and_one_reading(serving, valkey, redis, tmp_path):
    served = serving(redis_url=valkey.url, state_dir=tmp_path)
    with httpx2.Client(base_url=served.url, timeout=20) as http, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(following(http)) for _ in range(20)]
        for stream in streams:
            next(stream)
        until(lambda: served.here.feed.waiters >= len(streams))
        reading = [threading.Thread(target=next, args=(stream,)) for stream in streams]
        before = redis.info("commandstats")["cmdstat_xrange"]["calls"]
        job = submit(http)
        for thread in reading:
            thread.start()
        for thread in reading:
            thread.join(20)
        after = redis.info("commandstats")["cmdstat_xrange"]["calls"]
        assert after - before <= 3, "once, and again where a ring came in between"
        assert job
