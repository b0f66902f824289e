"""Messages: what is read of them, and what is wrong with others."""

import base64
import json

import pytest
from starlette.datastructures import Headers

from service.dialects.mcp_messages import (
    CURRENT,
    TASKS,
    MessageError,
    cacheable,
    error_response,
    id_of,
    of_fault,
    read_message,
    result,
)
from service.errors import Fault

VERSION, CAPABILITIES = (
    f"io.modelcontextprotocol/{name}" for name in ("protocolVersion", "clientCapabilities")
)
META = {VERSION: CURRENT, CAPABILITIES: {"extensions": {TASKS: {}}}, "progressToken": 7}
HEAD = {"Mcp-Protocol-Version": CURRENT, "Mcp-Method": "resources/read"}


def request(params, method="resources/read"):
    return {"jsonrpc": "2.0", "id": "a", "method": method, "params": params}


def read(params, head, method="resources/read"):
    return read_message(request(params, method), Headers(head))


def test_a_request_of_the_current_generation_says_all_of_its_client():
    message = read({"_meta": META, "uri": "x"}, HEAD | {"Mcp-Name": "x"})
    assert (message.version, message.is_current, message.takes_tasks) == (CURRENT, True, True)
    assert (message.progress_token, message.text("uri")) == (7, "x")
    message.require_tasks()
    told = result(message, {"a": 1})["result"]
    assert (told["resultType"], told["a"]) == ("complete", 1)
    assert told["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "darkroom"
    assert cacheable(message, {}, 2, "public") == {"ttlMs": 2000, "cacheScope": "public"}


@pytest.mark.parametrize("version", [None, "2025-06-18", "2025-11-25"])
def test_a_request_of_the_earlier_one_says_nothing(version):
    message = read({"uri": "x"}, {"Mcp-Protocol-Version": version} if version else {})
    assert message.version == (version or "2025-11-25")
    assert (message.is_current, message.takes_tasks) == (False, False)
    assert message.progress_token is None
    assert result(message, {"a": 1}) == {"jsonrpc": "2.0", "id": "a", "result": {"a": 1}}
    assert cacheable(message, {}, 2, "public") == {}
    with pytest.raises(MessageError, match="does not declare") as error:
        message.require_tasks()
    assert error.value.rpc == -32021


@pytest.mark.parametrize("name", ["déjà vu", " x ", "=?base64?eA==?="])
def test_what_stands_in_the_head_may_be_written_in_base64(name):
    encoded = f"=?base64?{base64.b64encode(name.encode()).decode()}?="
    assert read({"_meta": META, "uri": name}, HEAD | {"Mcp-Name": encoded}).text("uri") == name


@pytest.mark.parametrize(
    "head",
    [
        {},
        HEAD,
        HEAD | {"Mcp-Name": "y"},
        HEAD | {"Mcp-Name": "=?base64?!?="},
        HEAD | {"Mcp-Name": "x", "Mcp-Method": "tools/call"},
        HEAD | {"Mcp-Name": "x", "Mcp-Protocol-Version": "2025-11-25"},
    ],
)
def test_the_head_must_say_what_the_body_says(head):
    with pytest.raises(MessageError) as error:
        read({"_meta": META, "uri": "x"}, head)
    assert error.value.rpc == -32020


def test_the_name_of_a_task_is_compared_where_it_is_there():
    head = HEAD | {"Mcp-Method": "tasks/get"}
    read({"_meta": META, "taskId": "a"}, head, "tasks/get")
    with pytest.raises(MessageError):
        read({"_meta": META, "taskId": "a"}, head | {"Mcp-Name": "b"}, "tasks/get")


@pytest.mark.parametrize(
    ("meta", "rpc"),
    [
        ({VERSION: CURRENT}, -32602),
        ({VERSION: 7, CAPABILITIES: {}}, -32602),
        ({VERSION: CURRENT, CAPABILITIES: 7}, -32602),
        ({}, -32602),
        ({VERSION: "2025-11-25", CAPABILITIES: {}}, -32022),
    ],
)
def test_what_each_request_must_say(meta, rpc):
    head = HEAD | {"Mcp-Name": "x", "Mcp-Protocol-Version": str(meta.get(VERSION, CURRENT))}
    with pytest.raises(MessageError) as error:
        read({"_meta": meta, "uri": "x"}, head)
    assert error.value.rpc == rpc


def test_a_notification_has_no_id():
    said = {"jsonrpc": "2.0", "method": "notifications/x"}
    assert read_message(said, Headers({})).id is None
    assert read_message(said, Headers({"Mcp-Protocol-Version": CURRENT})).id is None
    with pytest.raises(MessageError):
        read_message(said, Headers({"Mcp-Protocol-Version": "1"}))


@pytest.mark.parametrize("wrong", [None, True, 1.5, [], {}])
def test_ids_are_texts_and_whole_numbers(wrong):
    with pytest.raises(MessageError):
        read_message(request({}) | {"id": wrong}, Headers({}))
    assert id_of({"id": wrong}) is None
    assert id_of({"id": 0}) == 0


def test_statuses_are_those_of_the_generation():
    wrong = MessageError(-32602, "Wrong.")
    now, before = read({"_meta": META, "uri": "x"}, HEAD | {"Mcp-Name": "x"}), read({}, {})
    assert [error_response(each, 1, wrong).status_code for each in (None, now, before)] == [
        *(400, 400, 200)
    ]
    assert error_response(now, 1, MessageError(-32601, "No.")).status_code == 404
    told = json.loads(error_response(before, 1, wrong).body)
    assert told == {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Wrong."}}


@pytest.mark.parametrize(
    ("status", "code", "rpc"),
    [
        (400, "malformed_request", -32700),
        (405, "method_not_allowed", -32600),
        (401, "unauthenticated", -32602),
        (422, "invalid_parameters", -32602),
        (429, "rate_limited", -32603),
        (503, "queue_unavailable", -32603),
    ],
)
def test_faults_have_codes_of_the_protocol(status, code, rpc):
    wrong = of_fault(Fault(status, code, "Why."))
    assert (wrong.rpc, str(wrong), wrong.data) == (rpc, "Why.", {"code": code})
