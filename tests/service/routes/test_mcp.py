"""The Model Context Protocol, spoken by the official client over a real socket."""

import asyncio
import base64
import io
import json

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from PIL import Image

from darkroom.job import JobError, JobStatus, Progress
from darkroom.queue.queue import News
from service.dialects.mcp_tools import TOOLS
from tests.service import mcp_tasks
from tests.service.conftest import bearer, knows, only, png
from tests.service.masks import CORNER, corner_png, white_in
from tests.service.mcp_tasks import Connected, Tasks
from tests.waiting import until

BOTH = ("auto", "legacy")
"""The current generation of the protocol, and the earlier one."""


def with_client(served, work, headers=None, **options):
    """Runs a coroutine with a connected client."""

    async def run():
        async with Connected(served.url, headers, **options) as client:
            return await work(client)

    return asyncio.run(run())


@pytest.fixture
def ask(served, here):  # noqa: ARG001
    def ask(work, **options):
        return with_client(served, work, **options)

    return ask


def told(result):
    """What a result says, in both forms."""
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


def pictures(result):
    shown = [each for each in result.content if each.type == "image"]
    return [Image.open(io.BytesIO(base64.b64decode(each.data))) for each in shown]


@pytest.mark.parametrize("mode", BOTH)
def test_what_there_is(ask, mode):
    async def work(client):
        assert client.server_info.name == "darkroom"
        assert "get_job" in client.instructions
        listed = await client.list_tools()
        assert (await client.list_resources()).resources == []
        [template] = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "darkroom://images/{image_id}{?w}"
        return client.protocol_version, [tool.name for tool in listed.tools]

    version, names = ask(work, mode=mode)
    assert version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode]
    assert names == [
        *("generate_image", "edit_image", "upscale_image"),
        *("list_models", "get_job", "cancel_job"),
    ]


@pytest.mark.parametrize("mode", BOTH)
def test_a_picture_from_a_prompt(ask, finishing, jobs, mode):
    finishing()
    asked = {"prompt": "a cat", "width": 64, "height": 128, "num_images": 2, "seed": 7}

    async def work(client):
        result = await client.call_tool("generate_image", asked | {"steps": 3, "style": None})
        uri = told(result)["images"][1]["uri"]
        return result, (await client.read_resource(uri)).contents[0]

    result, read = ask(work, mode=mode)
    job = only(jobs)
    assert asked.items() <= job.request.items()
    assert not result.is_error
    about = told(result)
    assert (about["job_id"], about["status"], about["model"]) == (job.id, "succeeded", "pix")
    assert about["images"][1]["seed"] == 8
    assert about["warnings"][0] == "Arguments that generate_image does not have are ignored: steps."
    kinds = [each.type for each in result.content]
    assert kinds == ["text", "image", "image", "resource_link", "resource_link"]
    shown = pictures(result)
    assert [(each.format, each.size) for each in shown] == [("WEBP", (8, 8))] * 2
    file = base64.b64decode(read.blob)
    assert Image.open(io.BytesIO(file)).getpixel((0, 0)) == (1, 9, 9)
    assert read.mime_type == "image/png"
    assert httpx2.get(about["images"][1]["url"]).content == file
    assert result.content[3].size == len(file)


def test_what_is_wrong_with_arguments_is_told_to_the_model(ask, jobs):
    async def work(client):
        for arguments, text in (
            ({}, "prompt: This argument is required."),
            ({"prompt": "a cat", "width": 63}, "width: Must be a multiple of 8."),
            ({"prompt": "a cat", "wait_s": "long"}, "wait_s: Must be a number"),
            ({"prompt": "a cat", "scheduler": "Nope"}, "scheduler: "),
            ({"prompt": "a cat", "loras": [{"name": "nope"}]}, "loras"),
        ):
            result = await client.call_tool("generate_image", arguments)
            assert result.is_error, arguments
            assert text in told(result)["error"]
        for tool in ("get_job", "cancel_job"):
            for job_id in ("job_x", f"job_{'0' * 32}", 7):
                result = await client.call_tool(tool, {"job_id": job_id})
                assert result.is_error
                assert told(result)["code"] == "job_not_found"
        with pytest.raises(MCPError) as refused:
            await client.call_tool("nope", {})
        assert refused.value.error.code == -32602

    ask(work)
    assert jobs.page().jobs == []


def test_a_model_of_another_name_is_guessed_and_told(ask, finishing, jobs):
    finishing()

    async def work(client):
        return await client.call_tool("generate_image", {"prompt": "a cat", "model": "sdxl"})

    assert "took its place" in told(ask(work))["warnings"][0]
    assert only(jobs).request["model"] == "pix"


def test_a_call_that_does_not_wait_is_read_later(ask, work):
    async def run(client):
        asked = {"prompt": "a cat", "wait_s": 0}
        begun = told(await client.call_tool("generate_image", asked))
        assert (begun["status"], begun["images"]) == ("queued", [])
        assert begun["job_id"] in begun["next"]
        work.all()
        return await client.call_tool("get_job", {"job_id": begun["job_id"]})

    result = ask(run)
    assert told(result)["status"] == "succeeded"
    assert len(pictures(result)) == 1


def test_who_waits_for_a_job_gets_it_when_it_ends(ask, background, work, submitted):
    job_id = submitted()["id"]
    background(work.all)

    async def run(client):
        return told(await client.call_tool("get_job", {"job_id": job_id, "wait_s": 20}))

    assert ask(run)["status"] == "succeeded"


def test_a_job_that_fails_is_an_error_of_its_tool(ask, finishing):
    finishing(JobStatus.FAILED, error=JobError(code="out_of_memory", message="Too large."))

    async def work(client):
        made = await client.call_tool("generate_image", {"prompt": "a cat"})
        read = await client.call_tool("get_job", {"job_id": told(made)["job_id"]})
        return made, read

    made, read = ask(work)
    assert (made.is_error, told(made)["error"]) == (True, "Too large.")
    assert (read.is_error, told(read)["status"]) == (False, "failed")


def test_a_job_is_canceled(ask, submitted, jobs):
    job_id = submitted()["id"]

    async def work(client):
        return told(await client.call_tool("cancel_job", {"job_id": job_id}))

    assert ask(work)["status"] == "canceled"
    assert jobs.fetch(job_id).status is JobStatus.CANCELED


def test_how_far_a_job_is_comes_meanwhile(ask, background, work):
    heard, first = [], asyncio.Event()

    async def note(progress, total, message):
        heard.append((progress, total, message))
        first.set()

    def half_then_all():
        claim = work.claim()
        halfway = Progress(stage="denoise", step=5, steps=10, ratio=0.5)
        assert work.queue.tell([News(claim, halfway)])
        until(lambda: len(heard) >= 2)
        work.finish(claim)

    background(half_then_all)

    async def run(client):
        arguments = {"prompt": "a cat"}
        return await client.call_tool("generate_image", arguments, progress_callback=note)

    assert told(ask(run))["status"] == "succeeded"
    assert heard[0][:2] == (0.0, 1.0)
    assert (0.5, 1.0, "denoise, step 5 of 10") in heard


def test_pictures_are_edited_and_masks_are_white_where_to_paint(ask, finishing, jobs, redis, here):
    knows(redis, "pix", "edit")
    finishing()
    asked = {
        "prompt": "make it night",
        "images": [base64.b64encode(png()).decode()],
        "mask_image": "data:image/png;base64," + base64.b64encode(corner_png()).decode(),
    }

    async def work(client):
        return await client.call_tool("edit_image", asked)

    assert not ask(work).is_error
    request = only(jobs).request
    assert (request["task"], request["prompt"]) == ("edit", "make it night")
    assert white_in(here, request["mask_image"]) == CORNER


def test_a_picture_is_named_by_its_uri_its_id_a_file_or_its_address(ask, api, work, submitted):
    submitted()
    image = work.all().images[0].id
    file = api.post("/api/v1/files", content=png()).json()["id"]
    names = [f"darkroom://images/{image}", f"darkroom://images/{image}?w=64", image]
    names += [f"{str(api.base_url).rstrip('/')}/api/v1/images/{image}", file]
    names += [f"darkroom://files/{file}"]

    async def run(client):
        for name in names:
            for images in ([name], name):
                asked = {"prompt": "a dog", "images": images, "wait_s": 0}
                result = await client.call_tool("edit_image", asked)
                assert not result.is_error, told(result)
        listed = (await client.list_resources()).resources
        small = await client.read_resource(f"darkroom://images/{image}?w=16")
        return listed, small

    [listed], small = ask(run)
    assert (listed.uri, listed.title) == (f"darkroom://images/{image}", "a cat")
    assert small.contents[0].uri == f"darkroom://images/{image}?w=16"


def test_the_tool_picks_a_model_that_can(ask, work, redis):
    knows(redis, "other", "upscale")

    async def run(client):
        image = base64.b64encode(png()).decode()
        result = await client.call_tool("upscale_image", {"image": image, "wait_s": 0})
        models = told(await client.call_tool("list_models", {}))["models"]
        return told(result), models

    made, models = ask(run)
    assert made["model"] == "other"
    assert work.claim().request["task"] == "upscale"
    tasks = {model["name"]: model["tasks"] for model in models}
    assert tasks == {"pix": ["text-to-image", "image-to-image"], "other": ["upscale"]}
    assert [model["name"] for model in models if model["default"]] == ["pix"]


def test_where_no_model_upscales_it_is_said(ask):
    async def run(client):
        image = base64.b64encode(png()).decode()
        return await client.call_tool("upscale_image", {"image": image})

    result = ask(run)
    assert result.is_error
    assert "task: " in told(result)["error"]


# Tasks


def test_a_call_becomes_a_task_that_is_followed_to_its_end(ask, work):
    async def run(client):
        handle = await client.session.call_tool(
            "generate_image", {"prompt": "a cat"}, allow_claimed=True
        )
        before = await mcp_tasks.get(client.session, handle.task_id)
        done = await asyncio.to_thread(work.all)
        assert (await mcp_tasks.update(client.session, handle.task_id)).result_type == "complete"
        after = await mcp_tasks.get(client.session, handle.task_id)
        read = await client.call_tool("get_job", {"job_id": handle.task_id})
        return handle, before, done, after, read

    handle, before, done, after, read = ask(run, extensions=[Tasks()])
    assert (handle.task_id, handle.status, handle.ttl_ms) == (done.id, "working", None)
    assert (before.status, before.result) == ("working", None)
    assert before.status_message.startswith("queued, 0 jobs")
    assert after.status == "completed"
    assert after.ttl_ms > 1000
    assert after.result["structuredContent"] == told(read)
    assert told(read)["images"][0]["uri"].endswith(done.images[0].id)


def test_the_clients_own_machinery_follows_it(ask, work):
    async def run(client):
        calling = asyncio.ensure_future(client.call_tool("generate_image", {"prompt": "a cat"}))
        await asyncio.to_thread(work.all)
        return await calling

    result = ask(run, extensions=[Tasks()])
    assert len(pictures(result)) == 1


def test_a_task_is_canceled_and_one_that_failed_is_completed_with_an_error(ask, work, jobs):
    async def run(client):
        async def begin():
            asked = {"prompt": "a cat"}
            call = client.session.call_tool("generate_image", asked, allow_claimed=True)
            return (await call).task_id

        first = await begin()
        await mcp_tasks.cancel(client.session, first)
        canceled = await mcp_tasks.get(client.session, first)
        await mcp_tasks.cancel(client.session, first)  # as often as one likes
        second = await begin()
        error = JobError(code="out_of_memory", message="Too large.")
        await asyncio.to_thread(lambda: work.finish(work.claim(), JobStatus.FAILED, error=error))
        return canceled, await mcp_tasks.get(client.session, second)

    canceled, failed = ask(run, extensions=[Tasks()])
    assert (canceled.status, canceled.result) == ("cancelled", None)
    assert jobs.fetch(canceled.task_id).status is JobStatus.CANCELED
    assert (failed.status, failed.result["isError"]) == ("completed", True)
    assert failed.result["structuredContent"]["error"] == "Too large."


def test_a_task_outlives_the_service_and_the_client(serving, valkey, tmp_path, served, work):
    """`served`, which has the same queue, stands for the service after a restart."""
    first = serving(redis_url=valkey.url, state_dir=tmp_path)

    async def begin(client):
        call = client.session.call_tool("generate_image", {"prompt": "a cat"}, allow_claimed=True)
        return (await call).task_id

    task_id = with_client(first, begin, extensions=[Tasks()])
    first.server.should_exit = True
    work.all()

    async def read(client):
        return await mcp_tasks.get(client.session, task_id)

    after = with_client(served, read, extensions=[Tasks()])
    assert after.status == "completed"
    assert [each["type"] for each in after.result["content"]] == ["text", "image", "resource_link"]


def test_a_task_of_another_key_is_not_there(guarded, http, made, guarded_work):  # noqa: ARG001
    ann, bob = bearer(made("ann")), bearer(made("bob"))

    async def begin(client):
        call = client.session.call_tool("generate_image", {"prompt": "a cat"}, allow_claimed=True)
        return (await call).task_id

    task_id = with_client(guarded, begin, ann, extensions=[Tasks()])
    image = guarded_work.all().images[0].id

    async def refused(client):
        asked = [
            lambda: mcp_tasks.get(client.session, task_id),
            lambda: mcp_tasks.cancel(client.session, task_id),
            lambda: mcp_tasks.update(client.session, task_id),
            lambda: client.read_resource(f"darkroom://images/{image}"),
        ]
        for ask in asked:
            with pytest.raises(MCPError) as error:
                await ask()
            assert error.value.error.code == -32602
        for tool in ("get_job", "cancel_job"):
            result = await client.call_tool(tool, {"job_id": task_id})
            assert told(result)["code"] == "job_not_found"
        return (await client.list_resources()).resources

    assert with_client(guarded, refused, bob, extensions=[Tasks()]) == []

    async def own(client):
        state = await mcp_tasks.get(client.session, task_id)
        return state.result["structuredContent"]["images"][0]["url"]

    url = with_client(guarded, own, ann, extensions=[Tasks()])
    assert "signature=" in url
    assert httpx2.get(url).status_code == 200
    assert httpx2.get(url.partition("?")[0]).status_code == 401


# Messages


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEAD = {"Mcp-Protocol-Version": "2026-07-28"}


def post(api, method, given=None, head=HEAD, meta=META, **more):
    body = {"jsonrpc": "2.0", "id": 5, "method": method, "params": {"_meta": meta} | (given or {})}
    head = {"Mcp-Method": method} | head if head is HEAD else head
    answer = api.post("/mcp", json=body | more, headers=head)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("method", "params", "more", "status", "code"),
    [
        ("nope", {}, {}, 404, -32601),
        ("initialize", {}, {}, 404, -32601),
        ("tools/list", {}, {"jsonrpc": "1.0"}, 400, -32600),
        ("tools/list", {}, {"id": None}, 400, -32600),
        ("tools/list", {}, {"params": []}, 400, -32600),
        ("tools/list", {}, {"meta": {}}, 400, -32602),
        ("tools/list", {}, {"head": {}}, 400, -32020),
        ("tools/list", {}, {"head": HEAD | {"Mcp-Method": "tools/call"}}, 400, -32020),
        ("tools/call", {"name": "get_job"}, {}, 400, -32020),
        ("tasks/get", {"taskId": f"job_{'0' * 32}"}, {}, 400, -32021),
        ("resources/list", {"cursor": "x"}, {}, 400, -32602),
    ],
)
def test_messages_that_are_wrong(api, method, params, more, status, code):
    given, answer = post(api, method, params, **more)
    assert (given, answer["error"]["code"]) == (status, code)
    assert answer["id"] == more.get("id", 5)


def test_a_version_that_is_not_spoken_is_told_with_those_that_are(api):
    meta = META | {"io.modelcontextprotocol/protocolVersion": "1900-01-01"}
    head = {"Mcp-Protocol-Version": "1900-01-01", "Mcp-Method": "tools/list"}
    status, answer = post(api, "tools/list", head=head, meta=meta)
    assert (status, answer["error"]["code"]) == (400, -32022)
    assert answer["error"]["data"] == {"supported": ["2026-07-28"], "requested": "1900-01-01"}
    old = api.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=head)
    assert (old.status_code, old.json()["error"]["code"]) == (400, -32022)


def test_notifications_are_taken_and_other_methods_are_not(api):
    for method in ("notifications/initialized", "notifications/cancelled"):
        taken = api.post("/mcp", json={"jsonrpc": "2.0", "method": method})
        assert (taken.status_code, taken.content) == (202, b"")
    for method in ("GET", "DELETE"):
        refused = api.request(method, "/mcp")
        assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, POST")
        assert refused.json()["error"]["code"] == -32600
    assert api.post("/mcp/", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}).json() == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {},
    }


def test_pages_of_other_sites_and_other_hosts_are_refused(api):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    foreign = api.post("/mcp", json=body, headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["error"]["data"]["code"]) == (403, "cross_site")
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert api.post("/mcp", json=body, headers=rebound).status_code == 421
    own = api.post("/mcp", json=body, headers={"Origin": str(api.base_url).rstrip("/")})
    assert len(own.json()["result"]["tools"]) == 6


def test_a_key_is_asked_for(http):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    refused = http.post("/mcp", json=body)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json()["id"] is None
    assert "API key is missing" in refused.json()["error"]["message"]


def test_bodies_that_are_no_messages(api):
    head = {"Content-Type": "application/json"}
    for content, status, code in ((b"{", 400, -32700), (b"[]", 400, -32700), (b"", 400, -32700)):
        answer = api.post("/mcp", content=content, headers=head)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert (
        api.post("/mcp", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
arguments = st.dictionaries(st.sampled_from(sorted(TOOLS["edit_image"].arguments)), values)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["tools/call", "resources/read", "resources/list", "initialize"]),
    params=values
    | st.fixed_dictionaries(
        {"name": st.sampled_from(sorted(TOOLS)), "arguments": values | arguments},
        optional={"uri": values, "cursor": values, "_meta": values},
    ),
)
def test_any_message_is_answered(api, redis, method, params):
    redis.delete("darkroom:queues")
    if isinstance(params, dict) and isinstance(params.get("arguments"), dict):
        params["arguments"]["wait_s"] = 0
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    raw = json.dumps(body).encode()
    answer = api.post("/mcp", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
    assert answer.json()["jsonrpc"] == "2.0"
