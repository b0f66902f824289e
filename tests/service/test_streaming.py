"""Server-sent events, as an EventSource reads them."""

import json
import threading
from collections.abc import Iterator

import httpx2
import pytest

from darkroom.command.valkey import RedisServer
from darkroom.job import Progress
from darkroom.queue.queue import News


def events(response: httpx2.Response) -> Iterator[dict[str, str]]:
    """Parses a stream (HTML standard, 9.2.6), as far as Darkroom writes it."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if not line:
            if event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value


def test_a_job_is_followed_from_its_acceptance_to_its_end(api, submitted, work, background):
    job = submitted(num_images=2)

    def run() -> None:
        claim = work.claim()
        work.queue.tell([News(claim, Progress(stage="denoise", step=1, steps=2, ratio=0.5))])
        work.finish(claim)

    background(run)
    with api.stream("GET", job["urls"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in response.headers["cache-control"]
        seen = list(events(response))
    kinds = [event["event"] for event in seen]
    assert kinds[0] == "status"
    assert kinds[-1] == "done"
    assert kinds.count("image") == 2
    (progress,) = [json.loads(e["data"]) for e in seen if e["event"] == "progress"]
    assert progress["step"] == 1
    done = json.loads(seen[-1]["data"])
    assert (done["status"], done["code"]) == ("succeeded", None)
    assert done["job"] == api.get(job["urls"]["self"]).json()
    numbers = [tuple(int(part) for part in e["id"].split("-")) for e in seen]
    assert numbers == sorted(set(numbers))


def test_who_comes_back_gets_what_was_missed(api, submitted, work):
    job = submitted()
    with api.stream("GET", job["urls"]["events"]) as response:
        first = next(events(response))
    work.all()
    for ask in ({"headers": {"Last-Event-ID": first["id"]}}, {"params": {"after": first["id"]}}):
        with api.stream("GET", job["urls"]["events"], **ask) as response:
            missed = list(events(response))
        assert first["id"] not in [event["id"] for event in missed]
        assert missed[-1]["event"] == "done"


def test_nothing_more_to_tell_ends_the_coming_back(api, submitted, work):
    job = submitted()
    work.all()
    with api.stream("GET", job["urls"]["events"]) as response:
        last = list(events(response))[-1]
    response = api.get(job["urls"]["events"], headers={"Last-Event-ID": last["id"]})
    assert (response.status_code, response.content) == (204, b"")


def test_a_canceled_job_ends_the_stream(api, submitted, background, jobs):
    job = submitted()
    background(lambda: jobs.cancel(job["id"]))
    with api.stream("GET", job["urls"]["events"]) as response:
        assert list(events(response))[-1]["event"] == "done"


def test_a_deleted_job_ends_the_stream(api, submitted, background, jobs):
    job = submitted()
    background(lambda: jobs.delete(job["id"]))
    with api.stream("GET", job["urls"]["events"], timeout=20) as response:
        list(events(response))


@pytest.mark.parametrize("event_id", ["x", "1-2-3", "9" * 30, "-", "1-"])
def test_event_ids_that_cannot_be(api, submitted, event_id):
    response = api.get(submitted()["urls"]["events"], headers={"Last-Event-ID": event_id})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/header/last-event-id"


def test_a_service_that_ends_answers_who_waits(serving, valkey, redis, tmp_path, here):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path)
    job = httpx2.post(served.url + "/api/v1/jobs", json={"prompt": "a cat"}).json()
    answers = []

    def wait() -> None:
        url = served.url + job["urls"]["self"]
        answers.append(httpx2.get(url, params={"wait": 60}, timeout=70))

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    while not served.here.feed.waiters:
        assert waiter.is_alive()
    served.server.should_exit = True
    waiter.join(20)
    assert answers[0].json()["status"] == "queued"


def test_a_service_that_ends_lets_its_followers_go(serving, valkey, redis, tmp_path, here):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path)
    job = httpx2.post(served.url + "/api/v1/jobs", json={"prompt": "a cat"}).json()
    with httpx2.stream("GET", served.url + job["urls"]["events"], timeout=9) as response:
        followed = events(response)
        assert next(followed)["event"] == "status"
        served.server.should_exit = True
        (last,) = followed
        assert (last["event"], last["retry"]) == ("error", "3000")
        assert json.loads(last["data"])["code"] == "shutting_down"
        assert "id" not in last


def test_a_stream_says_that_the_queue_went_away(serving, state_dir, tmp_path):
    redis = RedisServer(state_dir)
    served = serving(redis_url=redis.start(), state_dir=tmp_path)
    job = httpx2.post(served.url + "/api/v1/jobs", json={"prompt": "a cat"}).json()
    with httpx2.stream("GET", served.url + job["urls"]["events"], timeout=30) as response:
        followed = events(response)
        assert next(followed)["event"] == "status"
        redis.stop()
        (last,) = followed
    assert (last["event"], last["retry"]) == ("error", "3000")
    assert json.loads(last["data"])["retryable"] is True
