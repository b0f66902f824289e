"""Streams of what becomes of tasks."""

import json

import pytest

from darkroom.job import JobStatus
from tests.service.conftest import bearer

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {
        "extensions": {"io.modelcontextprotocol/tasks": {}}
    },
}
HEAD = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def body(notifications, meta=META):
    params = {"_meta": meta, "notifications": notifications}
    return {"jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params}


def messages(answer):
    for line in answer.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def test_what_becomes_of_tasks_is_told_until_they_have_ended(api, work, submitted):
    first, second = submitted()["id"], submitted()["id"]
    asked = body({"taskIds": [first, second, f"job_{'0' * 32}"], "toolsListChanged": True})
    heard = []
    with api.stream("POST", "/mcp", json=asked, headers=HEAD) as answer:
        for message in messages(answer):
            heard.append(message)
            if len(heard) == 3:  # both as they were at first
                work.finish(work.claim(), JobStatus.CANCELED)
                work.all()
    acknowledged, *tasks, end = heard
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["notifications"] == {"taskIds": [first, second]}
    assert all(each["method"] == "notifications/tasks" for each in tasks)
    assert [each["params"]["status"] for each in tasks[:2]] == ["working", "working"]
    last = {each["params"]["taskId"]: each["params"] for each in tasks}
    assert (last[first]["status"], last[second]["status"]) == ("cancelled", "completed")
    assert last[second]["result"]["structuredContent"]["job_id"] == second
    assert (end["id"], end["result"]["resultType"]) == (9, "complete")
    subscriptions = [each["params"]["_meta"][SUBSCRIPTION] for each in heard[:-1]]
    assert {*subscriptions, end["result"]["_meta"][SUBSCRIPTION]} == {9}


def test_where_nothing_is_told_of_the_stream_stays_open(api, here):
    asked = body({"resourcesListChanged": True})
    with api.stream("POST", "/mcp", json=asked, headers=HEAD) as answer:
        first = next(messages(answer))
        assert first["params"]["notifications"] == {}
        assert not here.feed.closing
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_tasks_of_another_key_are_not_there(http, made):
    ann, bob = bearer(made("ann")), bearer(made("bob"))
    job = http.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=ann).json()["id"]
    with http.stream("POST", "/mcp", json=body({"taskIds": [job]}), headers=HEAD | bob) as answer:
        assert next(messages(answer))["params"]["notifications"] == {}


@pytest.mark.parametrize(
    ("notifications", "meta", "code"),
    [
        (7, META, -32602),
        ({"taskIds": "x"}, META, -32602),
        ({"taskIds": ["x"] * 51}, META, -32602),
        ({"taskIds": ["x"]}, META | {list(META)[1]: {}}, -32021),
    ],
)
def test_what_is_wrong(api, notifications, meta, code):
    refused = api.post("/mcp", json=body(notifications, meta), headers=HEAD)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)
