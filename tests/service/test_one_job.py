"""One job seen from every side: whichever API it was asked for by, it is a job like any other."""

import asyncio
import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from huggingface_hub import InferenceClient, constants
from openai import OpenAI
from PIL import Image, ImageChops
from webuiapi import WebUIApi

from darkroom import Client
from darkroom.job import Job, JobStatus
from darkroom.queue.queue import queue_bell
from tests.service import mcp_tasks
from tests.service.conftest import Work
from tests.service.mcp_tasks import Connected, Tasks

if TYPE_CHECKING:
    from replicate import Client as Replicate

PROMPT, SEED = "a cat of all sides", 7


def native(url: str) -> Image.Image:
    with Client(url, patience_s=0) as client:
        [picture] = client.images(client.submit(prompt=PROMPT, model="pix", seed=SEED))
    return Image.open(io.BytesIO(picture.data))


def openai(url: str) -> Image.Image:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        [made] = client.images.generate(
            prompt=PROMPT, model="pix", extra_body={"seed": SEED, "response_format": "b64_json"}
        ).data
    return Image.open(io.BytesIO(base64.b64decode(made.b64_json)))


def hugging_face(url: str) -> Image.Image:
    client = InferenceClient(base_url=f"{url}/hf/pix", api_key="none", timeout=60)
    return client.text_to_image(PROMPT, seed=SEED)


def google(url: str) -> Image.Image:
    """As Open WebUI asks; Google's own client has an environment of its own, see test_google.py."""
    body = {
        "contents": [{"parts": [{"text": PROMPT}]}],
        "generationConfig": {"seed": SEED},
    }
    path = "/google/v1beta/models/pix:generateContent"
    answer = httpx2.post(f"{url}{path}", json=body, timeout=60)
    if answer.status_code != 200:
        raise RuntimeError(answer.text)
    [part] = answer.json()["candidates"][0]["content"]["parts"]
    return Image.open(io.BytesIO(base64.b64decode(part["inlineData"]["data"])))


def a1111(url: str) -> Image.Image:
    client = WebUIApi(baseurl=f"{url}/sdapi/v1", sampler="Euler", steps=4)
    with client.session:
        return client.txt2img(prompt=PROMPT, width=64, height=64, seed=SEED).image


def replicate(url: str) -> Image.Image:
    with predicting(url) as client:
        made = client.predictions.create(version="pix", input={"prompt": PROMPT, "seed": SEED})
        made.wait()
        if made.status != "succeeded":
            raise RuntimeError(f"It is {made.status}.")
        return Image.open(io.BytesIO(httpx2.get(made.output[0]).content))


def mcp(url: str) -> Image.Image:
    async def ask() -> tuple[str, str]:
        async with Connected(url) as client:
            asked = {"prompt": PROMPT, "model": "pix", "seed": SEED}
            made = await client.call_tool("generate_image", asked)
            if made.is_error:
                return "", made.content[0].text
            read = await client.read_resource(made.structured_content["images"][0]["uri"])
            return read.contents[0].blob, ""

    picture, error = asyncio.run(ask())
    if error:
        raise RuntimeError(error)
    return Image.open(io.BytesIO(base64.b64decode(picture)))


@contextmanager
def predicting(url: str) -> "Iterator[Replicate]":
    from replicate import Client as Replicate  # which takes a second to import

    client = Replicate(api_token="none", base_url=f"{url}/replicate")
    client.poll_interval = 0.01
    try:
        yield client
    finally:
        client._client.close()  # it has no way to be closed itself


ASKED = [native, openai, hugging_face, a1111, replicate, mcp, google]
"""How each API is asked for one picture, and has it when its job has ended."""


def cancel_natively(url: str, job: Job) -> None:
    with Client(url) as client:
        client.cancel(job)


def cancel_the_prediction(url: str, job: Job) -> None:
    with predicting(url) as client:
        assert client.predictions.cancel(job.id).status == "canceled"


def cancel_the_task(url: str, job: Job) -> None:
    async def ask() -> None:
        async with Connected(url, extensions=[Tasks()]) as client:
            await mcp_tasks.cancel(client.session, job.id)
            assert (await mcp_tasks.get(client.session, job.id)).status == "cancelled"

    asyncio.run(ask())


CANCELED = [cancel_natively, cancel_the_prediction, cancel_the_task]
"""How a job is canceled by each API that can cancel those of others."""


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere in the tests nothing may ask the Hub; its client refuses any address then."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def client(served, here):  # noqa: ARG001
    with Client(served.url, patience_s=0) as client:
        yield client


@pytest.fixture
def asking(served):
    """Asks without waiting for the answer."""
    with ThreadPoolExecutor(1) as threads:

        def ask(side: Callable[[str], Image.Image]) -> "Future[Image.Image]":
            return threads.submit(side, served.url)

        yield ask


def accepted(client: Client, work: Work) -> Job:
    """The job of whoever asks, once it is there."""
    work.queue.wait([queue_bell("pix")], 30)
    [job] = client.jobs()
    return job


def pixels_differ(one: Image.Image, other: bytes) -> bool:
    return ImageChops.difference(one, Image.open(io.BytesIO(other))).getbbox() is not None


@pytest.mark.parametrize("side", ASKED)
def test_it_is_read_listed_and_replayed_natively(side, asking, client, work) -> None:
    answer = asking(side)
    job = accepted(client, work)
    assert (job.status, job.request["seed"]) == (JobStatus.QUEUED, SEED)
    assert [each.id for each in client.jobs(q=PROMPT.upper(), status="queued")] == [job.id]

    work.all()
    [picture] = client.images(job)
    assert not pixels_differ(answer.result(30), picture.data)
    assert [event.kind for event in client.events(job)][-1] == "done"
    [listed] = client.ask("GET", "images", params={"q": PROMPT})["data"]
    assert (listed["id"], listed["job_id"]) == (picture.record.id, job.id)

    replayed, again = client.retry(job), client.submit(job.request)
    assert replayed.request == again.request == job.request
    assert replayed.parent_id == job.id


@pytest.mark.parametrize("cancel", CANCELED)
@pytest.mark.parametrize("side", ASKED)
def test_it_is_canceled_by_another_side(side, cancel, asking, client, served, work) -> None:
    answer = asking(side)
    job = accepted(client, work)
    cancel(served.url, job)
    assert "cancel" in _told(answer)
    assert client.job(job.id).status is JobStatus.CANCELED
    assert [each.id for each in client.jobs(status="canceled")] == [job.id]
    assert work.queue.fetch(job.id).images == []


def _told(answer: "Future[Any]") -> str:
    """What a client raises, in the words of its API."""
    error = answer.exception(30)
    assert error is not None
    return f"{error} {getattr(error, 'body', '')}"
