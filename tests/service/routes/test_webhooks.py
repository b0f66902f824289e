"""Webhooks as a client meets them; sending is in tests/darkroom/test_messenger.py."""

from collections.abc import Callable, Iterator

import httpx2
import pytest
from redis import Redis
from standardwebhooks import Webhook as Receiver

from darkroom.api_keys import Token
from darkroom.queue.outbox import report, take_messages
from darkroom.queue.queue import Queue
from tests.outside import outside, replies
from tests.service.conftest import Served, bearer, know_models

URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def client(telling: Served, redis: Redis, made: Callable[..., Token]) -> Iterator[httpx2.Client]:
    """With a key."""
    know_models(redis)
    base = f"{telling.url}/api/v1"
    with httpx2.Client(base_url=base, timeout=20, headers=bearer(made())) as client:
        yield client


def give_up(queue: Queue, client: httpx2.Client) -> dict:
    """A message of a job that was canceled, given up."""
    job = client.post("/jobs", json={"prompt": "a cat", "webhook": {"url": URL}}).json()
    client.post(f"/jobs/{job['id']}/cancel")
    [message] = queue.carry_out(take_messages("t", 9))
    queue.carry_out(report(message, "failed", "It answered 500."))
    return job


def test_a_secret_is_shown_once_and_rotated(client: httpx2.Client) -> None:
    before = client.get("/webhooks/secret").json()
    assert before == {"object": "webhook_secret", "created_at": None, "previous_until": None}
    first = client.post("/webhooks/secret")
    assert first.status_code == 201
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["secret"].startswith("whsec_")
    assert first.json()["previous_until"] is None
    second = client.post("/webhooks/secret").json()
    assert second["secret"] != first.json()["secret"]
    assert second["previous_until"] > second["created_at"]
    third = client.post("/webhooks/secret", json={"overlap_s": 0}).json()
    assert third["previous_until"] is None
    kept = client.get("/webhooks/secret")
    assert kept.json()["created_at"] == third["created_at"]
    assert "whsec_" not in kept.text


@pytest.mark.parametrize("body", [{"overlap_s": -1}, {"overlap_s": 1e9}, {"overlap": 1}, {"x": {}}])
def test_a_wrong_body_changes_no_secret(client: httpx2.Client, body: dict) -> None:
    answer = client.post("/webhooks/secret", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(body))}"
    assert client.get("/webhooks/secret").json()["created_at"] is None


def test_a_job_shows_whom_it_tells(client: httpx2.Client) -> None:
    client.post("/webhooks/secret")
    webhook = {"url": URL, "events": ["job.started", "job.failed"], "prediction_root": None}
    job = client.post("/jobs", json={"prompt": "a cat", "webhook": webhook})
    assert job.status_code == 202
    assert job.json()["webhook"] == webhook
    assert client.get(f"/jobs/{job.json()['id']}").json()["webhook"] == webhook
    again = client.post(f"/jobs/{job.json()['id']}/retry")
    assert again.json()["webhook"] is None


@pytest.mark.parametrize(
    ("webhook", "pointer", "told"),
    [
        ({"url": "http://10.0.0.1/"}, "/webhook/url", "Its host has no address that may be asked."),
        ({"url": "ftp://a.example/"}, "/webhook/url", "Must be an absolute URL"),
        ({"url": "https://a:b@c.example/"}, "/webhook/url", "May hold no user"),
        ({"url": URL, "events": ["done"]}, "/webhook/events/0", "Must be 'job.started', "),
        ({"events": []}, "/webhook/url", "required"),
        ("https://a.example/", "/webhook", "Must be an object"),
    ],
)
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_webhook_that_will_not_do_makes_no_job(
    client: httpx2.Client, webhook: object, pointer: str, told: str, query: str
) -> None:
    client.post("/webhooks/secret")
    answer = client.post(f"/jobs{query}", json={"prompt": "a cat", "webhook": webhook})
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["pointer"] == pointer
    assert told in error["detail"]
    assert client.get("/jobs").json()["data"] == []


def test_without_a_secret_there_is_no_webhook(client: httpx2.Client) -> None:
    answer = client.post("/jobs", json={"prompt": "a cat", "webhook": {"url": URL}})
    assert answer.status_code == 422
    assert "POST /api/v1/webhooks/secret draws one" in answer.json()["detail"]
    tried = client.post("/webhooks/test", json={"url": URL})
    assert tried.status_code == 422


def test_a_receiver_can_be_tried(client: httpx2.Client) -> None:
    secret = client.post("/webhooks/secret").json()["secret"]
    with outside(replies(204)) as server:
        tried = client.post("/webhooks/test", json={"url": server.url})
        assert tried.json() == {"delivered": True, "why": None}
        [asked] = server.asked
        assert Receiver(secret).verify(asked.body, asked.headers)["type"] == "test"
        server.answer = replies(410)
        told = client.post("/webhooks/test", json={"url": server.url}).json()
        assert told == {"delivered": False, "why": "Its server answered 410."}
    wrong = client.post("/webhooks/test", json={"url": "http://127.0.0.2/"})
    assert wrong.json()["errors"][0]["pointer"] == "/url"


def test_what_was_given_up_is_listed_and_sent_again(client: httpx2.Client, redis: Redis) -> None:
    client.post("/webhooks/secret")
    queue = Queue(redis)
    jobs = [give_up(queue, client) for _ in range(2)]
    listed = client.get("/webhooks/failed").json()["data"]
    assert [each["job_id"] for each in listed] == [job["id"] for job in reversed(jobs)]
    assert (listed[0]["type"], listed[0]["why"]) == ("job.canceled", "It answered 500.")
    assert len(client.get("/webhooks/failed", params={"limit": 1}).json()["data"]) == 1
    again = client.post(f"/webhooks/failed/{listed[0]['id']}/resend")
    assert again.status_code == 202
    assert again.json()["failed_at"] is None
    [message] = queue.carry_out(take_messages("t", 9))
    assert message.id == listed[0]["id"]
    nothing = client.post("/webhooks/failed/msg_1_1/resend")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "message_not_found")


def test_a4_what_is_anothers_is_as_if_it_were_not_there(
    client: httpx2.Client, redis: Redis, made: Callable[..., Token]
) -> None:
    client.post("/webhooks/secret")
    give_up(Queue(redis), client)
    [failed] = client.get("/webhooks/failed").json()["data"]
    stranger = bearer(made("stranger"))
    assert client.get("/webhooks/failed", headers=stranger).json()["data"] == []
    assert client.get("/webhooks/secret", headers=stranger).json()["created_at"] is None
    for message_id in (failed["id"], "msg_0_1"):
        answer = client.post(f"/webhooks/failed/{message_id}/resend", headers=stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")


def test_where_there_are_none_each_path_says_so(api: httpx2.Client) -> None:
    asked = [("GET", "secret"), ("POST", "secret"), ("GET", "failed"), ("POST", "failed/x/resend")]
    for method, path in asked:
        answer = api.request(method, f"/api/v1/webhooks/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "webhooks_off")
    answer = api.post("/api/v1/webhooks/test", json={"url": URL})
    assert answer.status_code == 403


def test_each_job_of_a_batch_can_have_one(client: httpx2.Client) -> None:
    wish = {"prompt": "a cat", "webhook": {"url": URL}}
    unsigned = client.post("/jobs/batch", json={"jobs": [{"prompt": "a cat"}, wish]})
    assert unsigned.status_code == 422
    assert unsigned.json()["errors"][0]["pointer"] == "/jobs/1/webhook"
    client.post("/webhooks/secret")
    batch = client.post("/jobs/batch", json={"jobs": [{"prompt": "a cat"}, wish]})
    assert batch.status_code == 202, batch.text
    jobs = [client.get(f"/jobs/{each['id']}").json() for each in batch.json()["jobs"]]
    assert [job["webhook"] and job["webhook"]["url"] for job in jobs] == [None, URL]
