"""The Model Context Protocol on standard input and output, spoken by the official client."""

import asyncio
import base64
import io
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from PIL import Image

from darkroom.command import mcp
from darkroom.ports import free_port
from tests.running import DARKROOM, environment
from tests.service.mcp_tasks import Tasks

DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}


# By "auto" the client takes the earlier generation where a process needs ten seconds to start.
@pytest.mark.parametrize(("mode", "follows"), [("legacy", False), ("2026-07-28", True)])
def test_an_agent_that_starts_it_makes_a_picture(shared_up, mode, follows):
    command = [*DARKROOM, "mcp", "--url", shared_up.url]
    started = StdioServerParameters(
        command=command[0], args=command[1:], env=environment(DARKROOM_STATE_DIR="/nowhere")
    )
    options = {"extensions": [Tasks()]} if follows else {}
    heard = []

    async def note(progress, *_):
        heard.append(progress)

    async def run():
        async with Client(stdio_client(started), mode=mode, **options) as client:
            assert len((await client.list_tools()).tools) == 6
            if follows:
                found = await client.session.send_discover(mode)
                assert found["supportedVersions"] == [mode]
            asked = {"prompt": "a cat", "num_inference_steps": 2}
            made = await client.call_tool("generate_image", asked, progress_callback=note)
            uri = made.structured_content["images"][0]["uri"]
            read = await client.read_resource(uri)
            return made, read.contents[0]

    made, read = asyncio.run(run())
    assert not made.is_error, made
    picture = Image.open(io.BytesIO(base64.b64decode(read.blob)))
    about = made.structured_content["images"][0]
    assert picture.size == (about["width"], about["height"])
    assert bool(heard) is not follows


def carried(url, *sent, key=None):
    """What is answered to lines."""
    told = []
    source = io.BytesIO(b"".join(each + b"\n" for each in sent))
    asyncio.run(mcp.carry(url, key, source, told.append))
    return told


def test_lines_that_are_no_messages_are_refused_and_others_go_on(shared_up):
    url = f"{shared_up.url}/mcp"
    ping = {"jsonrpc": "2.0", "id": "é", "method": "ping"}
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    sent = [b"{", b"[]", b"", json.dumps(note).encode(), json.dumps(ping).encode()]
    assert [each.get("error", {}).get("code") for each in carried(url, *sent)] == [
        *(-32600, -32600, None)
    ]


@pytest.mark.parametrize(
    ("strange", "named"),
    [('"id": 1e999', None), ('"id": {"a": 1}', None), ('"id": 7, "params": {"_meta": [1]}', 7)],
)
def test_each_request_is_answered_however_strange(shared_up, strange, named):
    line = f'{{"jsonrpc": "2.0", "method": "tools/list", {strange}}}'
    [told] = carried(f"{shared_up.url}/mcp", line.encode())
    assert told["id"] == named


def test_what_is_refused_before_it_is_read_is_told_with_its_id(shared_up):
    [told] = carried(f"{shared_up.url}/nowhere", json.dumps(DISCOVER).encode())
    assert told["id"] == 1
    assert "no Darkroom with /mcp (404)" in told["error"]["message"]


def test_a_service_that_is_away_is_waited_for_and_then_told(monkeypatch):
    monkeypatch.setattr(mcp, "PATIENCE_S", 0.02)
    monkeypatch.setattr(mcp, "AGAIN_S", 0.01)
    monkeypatch.setattr(mcp, "LAST_ANSWERS_S", 30)
    [told] = carried(f"http://127.0.0.1:{free_port()}/mcp", json.dumps(DISCOVER).encode())
    assert (told["id"], told["error"]["code"]) == (1, -32603)
    assert "No Darkroom answers" in told["error"]["message"]


@pytest.mark.parametrize("cancels", [True, False])
def test_who_takes_a_request_back_or_leaves_closes_its_connection(monkeypatch, cancels):
    monkeypatch.setattr(mcp, "LAST_ANSWERS_S", 30 if cancels else 0)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    told = []
    read, write = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool, read:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/mcp"
        with write:
            write.write(json.dumps(DISCOVER).encode() + b"\n")
            write.flush()
            carrying = pool.submit(lambda: asyncio.run(mcp.carry(url, None, read, told.append)))
            connection, _ = server.accept()
            with connection:
                asked = b""
                while b'"initialize"' not in asked:
                    asked += connection.recv(65536)
                write.write(json.dumps(cancel).encode() + b"\n" if cancels else b"")
                write.close()
                assert connection.recv(65536) == b""
        carrying.result()
    assert told == []


def test_the_head_says_again_what_the_body_says():
    bridge = mcp.Bridge(None, "", print)
    version = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    message = {"method": "tools/call", "params": {"_meta": version, "name": "é"}}
    head = bridge._headers(message)
    assert (head["Mcp-Protocol-Version"], head["Mcp-Method"]) == ("2026-07-28", "tools/call")
    assert head["Mcp-Name"] == "=?base64?w6k=?="
