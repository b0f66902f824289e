"""Calls over real sockets: clients that leave, and places that are taken."""

import json

import pytest

from darkroom.job import JobStatus
from tests.service.conftest import know_models
from tests.service.dialects.test_calls import left
from tests.service.wire import JSON, connected, head
from tests.waiting import until

STREAM = "Accept: application/json, text/event-stream"


def message(name, _meta=None, **arguments):
    params = {"name": name, "arguments": arguments, "_meta": _meta or {}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def ask(connection, body, *headers):
    raw = json.dumps(body).encode()
    told = (JSON, f"Content-Length: {len(raw)}", *headers)
    connection.sendall(head("POST /mcp HTTP/1.1", *told) + raw)


@pytest.mark.parametrize("streams", [True, False])
def test_who_leaves_a_call_gives_its_job_up(served, here, jobs, redis, streams):
    meta = {"progressToken": 1} if streams else {}
    with connected(served.url) as connection:
        ask(connection, message("generate_image", meta, prompt="a cat"), STREAM)
        until(lambda: here.feed.waiters)
    [job] = jobs.page().jobs
    until(lambda: left(redis) == [job.id])


def test_who_leaves_while_reading_a_job_changes_nothing(served, here, jobs, redis, submitted):
    job_id = submitted()["id"]
    with connected(served.url) as connection:
        ask(connection, message("get_job", job_id=job_id, wait_s=30), STREAM)
        until(lambda: here.feed.waiters)
    until(lambda: not here.feed.waiters)
    assert left(redis) == []
    assert jobs.fetch(job_id).status is JobStatus.QUEUED


def test_a_call_that_has_waited_long_enough_names_its_job_which_goes_on(api, jobs, redis):
    answer = api.post("/mcp", json=message("generate_image", prompt="a cat", wait_s=0.01))
    told = answer.json()["result"]["structuredContent"]
    assert (told["status"], answer.headers["x-darkroom-job-id"]) == ("queued", told["job_id"])
    assert answer.headers["x-request-id"]
    until(lambda: not redis.keys("darkroom:calls:*"))
    assert left(redis) == []
    assert jobs.fetch(told["job_id"]).status is JobStatus.QUEUED


def test_where_nobody_may_wait_the_answer_comes_at_once(serving, valkey, tmp_path, redis):
    know_models(redis)
    crowded = serving(redis_url=valkey.url, state_dir=tmp_path, max_waiting=1)
    with (
        connected(crowded.url) as first,
        connected(crowded.url) as second,
        connected(crowded.url) as third,
    ):
        ask(first, message("generate_image", prompt="a cat"))
        until(lambda: crowded.here.feed.waiters)
        for connection, meta in ((second, {}), (third, {"progressToken": 1})):
            ask(connection, message("generate_image", meta, prompt="a dog"), STREAM)
            answer = b""
            while b"job goes on" not in answer:
                answer += connection.recv(65536)
        assert b"text/event-stream" in answer
        assert b"notifications/progress" in answer
