"""Hugging Face's inference endpoint, asked by its own client over a real socket."""

import asyncio
import base64
import io

import httpx2
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from darkroom.job import JobError, JobStatus
from tests.service.conftest import bearer, knows, only, png

PNG = base64.b64encode(png()).decode()


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """Elsewhere in the tests nothing may ask the Hub; its client refuses any address then."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def client(served, here):  # noqa: ARG001
    return InferenceClient(base_url=f"{served.url}/hf/pix", api_key="none", timeout=30)


def test_a_picture_from_a_prompt(client, finishing, jobs):
    finishing()
    made = client.text_to_image(
        "a cat",
        negative_prompt="a dog",
        width=64,
        height=128,
        num_inference_steps=4,
        guidance_scale=2.5,
        scheduler="EulerDiscreteScheduler",
        seed=7,
    )
    assert (made.size, made.format, made.getpixel((0, 0))) == ((8, 8), "PNG", (0, 9, 9))
    request = only(jobs).request
    asked = {"prompt": "a cat", "negative_prompt": "a dog", "width": 64, "height": 128, "seed": 7}
    asked |= {"num_inference_steps": 4, "guidance_scale": 2.5, "task": "text-to-image"}
    asked |= {"scheduler": "EulerDiscreteScheduler", "model": "pix", "num_images": 1}
    assert {name: request[name] for name in asked} == asked


def test_the_async_client(served, finishing):
    finishing()

    async def ask():
        url = f"{served.url}/hf/pix"
        async with AsyncInferenceClient(base_url=url, api_key="none", timeout=30) as client:
            return await client.text_to_image("a cat")

    assert asyncio.run(ask()).size == (8, 8)


def test_a_picture_from_a_picture_and_a_prompt(client, finishing, jobs):
    finishing()
    client.image_to_image(png((64, 64)), "a dog", target_size={"width": 64, "height": 128})
    job = only(jobs)
    asked = {"task": "image-to-image", "prompt": "a dog", "width": 64, "height": 128}
    assert {name: job.request[name] for name in asked} == asked
    assert job.request["image"].startswith("file_")
    assert "follow instructions" in job.warnings[0]


def test_a_model_that_edits_does(client, finishing, jobs, redis):
    knows(redis, "pix", "edit")
    finishing()
    client.image_to_image(png((64, 64)), "make it blue")
    assert only(jobs).request["task"] == "edit"
    assert len(only(jobs).request["images"]) == 1


def test_a_picture_alone_comes_as_it_is_and_may_need_no_prompt(client, finishing, jobs):
    finishing()
    assert client.image_to_image(png((64, 64))).size == (8, 8)
    assert only(jobs).request["task"] == "image-to-image"


def test_an_upscaler_enlarges_it_and_leaves_out_what_would_do_nothing(
    client, finishing, jobs, redis
):
    knows(redis, "pix", "upscale")
    finishing()
    client.image_to_image(png(), strength=0.5)
    assert only(jobs).request["task"] == "upscale"
    told = " ".join(only(jobs).warnings)
    assert "makes pictures larger" in told
    assert "no strength" in told


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_format_is_that_which_is_accepted_first(served, finishing, kind):
    finishing()
    accept = {"Accept": f"text/html, image/{kind};q=0.9, image/png"}
    got = httpx2.post(f"{served.url}/hf/pix", json={"inputs": "a cat"}, headers=accept)
    assert got.headers["content-type"] == f"image/{kind}"
    assert Image.open(io.BytesIO(got.content)).format == kind.upper()
    assert got.headers["x-darkroom-job-id"].startswith("job_")


# Its source, and what no model is called.
@pytest.mark.parametrize("name", ["tiny/pix", "stabilityai/sdxl"])
def test_a_model_is_found_by_its_source_and_any_other_is_the_wildcard(
    served, finishing, jobs, name
):
    finishing()
    InferenceClient(base_url=f"{served.url}/hf/{name}", timeout=30).text_to_image("a cat")
    assert only(jobs).request["model"] == "pix"
    is_told = "No model is called 'stabilityai/sdxl' here; 'pix' took its place." in (
        only(jobs).warnings
    )
    assert is_told is (name != "tiny/pix")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "inputs: This field is required."),
        ({"inputs": 3}, "inputs: "),
        ({"inputs": "\0"}, "inputs: "),
        ({"inputs": "a cat", "parameters": {"width": 63}}, "parameters/width: Must be a multiple"),
        ({"inputs": "a cat", "parameters": {"width": "x"}}, "parameters/width: "),
        ({"inputs": "a cat", "parameters": {"scheduler": "Nope"}}, "parameters/scheduler: "),
        ({"inputs": "a cat", "parameters": {"loras": [{"name": "x"}]}}, "parameters/loras"),
        ({"inputs": "no picture", "parameters": {"prompt": "a dog"}}, "inputs: "),
        ({"inputs": PNG, "parameters": {"prompt": "\0"}}, "parameters/prompt: "),
        (
            {
                "inputs": PNG,
                "parameters": {"prompt": "a dog", "target_size": {"width": 63, "height": 64}},
            },
            "parameters/target_size/width: Must be a multiple of 8.",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_text_by_its_name_in_the_request(api, jobs, body, text):
    refused = api.post("/hf/pix", json=body)
    assert (refused.status_code, refused.json().keys()) == (422, {"error"})
    assert refused.json()["error"].startswith(text), refused.json()
    assert jobs.page().jobs == []


def test_the_client_shows_what_is_wrong(client):
    with pytest.raises(HfHubHTTPError, match="parameters/width: Must be a multiple of 8"):
        client.text_to_image("a cat", width=63)


def test_other_refusals_have_the_same_shape(api):
    for refused, status in (
        (api.get("/hf/pix"), 405),
        (api.post("/hf/pix", content=b"{", headers={"Content-Type": "application/json"}), 400),
        (api.post("/hf/pix", content=b"x", headers={"Content-Type": "text/html"}), 415),
        (api.post("/hf/pix", content=b"x", headers={"Content-Type": "image/png"}), 422),
    ):
        assert (refused.status_code, refused.json().keys()) == (status, {"error"})


def test_a_job_that_fails_is_told_and_not_asked_for_again(client, finishing, jobs):
    finishing(JobStatus.FAILED, error=JobError(code="out_of_memory", message="Too large."))
    with pytest.raises(HfHubHTTPError) as refused:
        client.text_to_image("a cat")
    response = refused.value.response
    assert (response.status_code, response.json()) == (500, {"error": "Too large."})
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-darkroom-job-id"] == only(jobs).id


def test_a_key_is_asked_for_and_sees_only_its_own(guarded, http, made):
    url = f"{guarded.url}/hf/pix"
    refused = httpx2.post(url, json={"inputs": "a cat"})
    assert (refused.status_code, refused.json().keys()) == (401, {"error"})
    mine, others = made("mine"), made("others")
    file = http.post("/api/v1/files", content=png(), headers=bearer(others)).json()["id"]
    body = {"inputs": file, "parameters": {"prompt": "a dog"}}
    stranger = httpx2.post(url, json=body, headers=bearer(mine))
    assert stranger.status_code == 422
    assert stranger.json()["error"].startswith("inputs: ")
