"""The OpenAI Images API, asked as programs ask it that are too large to run here.

Their requests are written from their sources, named at each, with nothing left out, and of the
answers is looked at what they read.
"""

import base64

import httpx2
import pytest
from openai import OpenAI

from tests.service.conftest import MODELS, bearer, knows, only, png
from tests.service.routes.test_openai import (  # noqa: F401
    asymmetric_mask,
    client,
    opened,
)
from tests.service.wire import answer_and_close, head

NARROW = "max_size = 512, max_pixels = 65536, max_steps = 100, max_images = 4"
WIDE = "max_size = 1792, max_pixels = 1835008, max_steps = 100, max_images = 10"
"""These programs have a few sizes built in."""


@pytest.fixture(scope="module")
def served(serving, valkey, tmp_path_factory):
    """A service whose model makes pictures as large as these programs ask for."""
    folder = tmp_path_factory.mktemp("wide")
    assert NARROW in MODELS
    (folder / "models.toml").write_text(MODELS.replace(NARROW, WIDE))
    return serving(redis_url=valkey.url, state_dir=folder, models=folder / "models.toml")


@pytest.fixture
def ask(api, finishing):
    """Asks for pictures and returns those of the answer, as they stand there."""

    def ask(path: str, **sent: object) -> list[dict]:
        finishing()
        answer = api.post(f"/v1{path}", **sent)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-request-id"]
        return answer.json()["data"]

    return ask


# Open WebUI 0.12.4, engine `openai`: open_webui/routers/images.py


OPEN_WEBUI = {"Authorization": "Bearer none"}


@pytest.mark.parametrize("model", ["dall-e-2", "gpt-image-1", "pix"])
def test_open_webui(ask, jobs, model):
    """It takes `url` where there is one, and fetches nothing from private addresses."""
    body = {"model": model, "prompt": "a cat", "n": 2, "size": "512x512"}
    if not model.startswith("gpt-image"):
        body["response_format"] = "b64_json"
    made = ask("/images/generations", json=body, headers=OPEN_WEBUI)
    assert [set(image) for image in made] == [{"b64_json"}] * 2
    assert opened(made[0]["b64_json"]).format == "PNG"
    request = only(jobs).request
    assert (request["model"], request["width"], request["num_images"]) == ("pix", 512, 2)


def test_additional_parameters_of_open_webui(ask, jobs):
    """An administrator may enter a JSON object, which joins each body."""
    body = {"model": "pix", "prompt": "a cat", "n": 1, "response_format": "b64_json"}
    added = {"negative_prompt": "a dog", "num_inference_steps": 7, "guidance_scale": 3}
    ask("/images/generations", json=body | added, headers=OPEN_WEBUI)
    assert added.items() <= only(jobs).request.items()


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_an_edit_of_open_webui(ask, jobs, redis, name):
    """One picture is `image`, a list of them `image[]`; all else is text, of which aiohttp, which
    it asks with, says so, before it says what it is called."""
    knows(redis, "pix", "edit")
    fields = {"model": "pix", "prompt": "bluer", "n": "1", "size": "512x512"}
    fields |= {"background": "auto", "response_format": "b64_json"}
    plain = "text/plain; charset=utf-8"
    parts = [(plain, f'name="{field}"', text.encode()) for field, text in fields.items()]
    pictures = [png(color=(n, 0, 0)) for n in range(2 if name == "image[]" else 1)]
    parts += [("image/png", f'name="{name}"; filename="4.png"', each) for each in pictures]
    form = b""
    for kind, about, content in parts:
        part = f"Content-Type: {kind}\r\nContent-Disposition: form-data; {about}\r\n\r\n"
        form += b"--edge\r\n" + part.encode() + content + b"\r\n"
    headers = OPEN_WEBUI | {"Content-Type": "multipart/form-data; boundary=edge"}
    [made] = ask("/images/edits", content=form + b"--edge--\r\n", headers=headers)
    assert set(made) == {"b64_json"}
    request = only(jobs).request
    assert (request["prompt"], len(request["images"])) == ("bluer", len(pictures))


# LibreChat 0.8.2, api/app/clients/tools/structured/


def test_the_image_tool_of_librechat(client, finishing, jobs):  # noqa: F811
    """OpenAIImageTools.js, `image_gen_oai`: OpenAI's client, and a model that is built in."""
    finishing()
    made = client.images.generate(
        model="gpt-image-1",
        prompt="a cat",
        n=1,
        background="auto",
        output_format="png",
        quality="auto",
        size="auto",
    )
    assert opened(made.data[0].b64_json).format == "PNG"
    assert only(jobs).request["model"] == "pix"


def test_the_edit_tool_of_librechat(ask, jobs, redis):
    """OpenAIImageTools.js, `image_edit_oai`: `image[]` whatever their number, no `n`."""
    knows(redis, "pix", "edit")
    fields = {"model": "gpt-image-1", "prompt": "bluer", "quality": "auto", "size": "auto"}
    [made] = ask("/images/edits", data=fields, files={"image[]": ("cat.png", png(), "image/png")})
    assert opened(made["b64_json"]).format == "PNG"
    assert only(jobs).request["task"] == "edit"


def test_the_dall_e_tool_of_librechat(client, finishing):  # noqa: F811
    """DALLE3.js: no form is asked for, the address is fetched without a key."""
    finishing()
    made = client.images.generate(
        model="dall-e-3", quality="standard", style="vivid", size="1024x1024", prompt="cat", n=1
    )
    fetched = httpx2.get(made.data[0].url)
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, "image/png")


# n8n's OpenAI node, version 2.3: packages/@n8n/nodes-langchain/nodes/vendors/OpenAi/


def test_the_list_of_models_of_n8n(api):
    """methods/listSearch.ts shows those with `dall-e` or `gpt-image` in their names."""
    names = {model["id"] for model in api.get("/v1/models").json()["data"]}
    shown = {name for name in names if "dall-e" in name or "gpt-image" in name}
    assert {"gpt-image-1-mini", "gpt-image-1", "gpt-image-1.5", "dall-e-2"} <= shown


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ({"model": "gpt-image-1-mini", "quality": "medium", "size": "1024x1024"}, "b64_json"),
        ({"model": "dall-e-3", "response_format": "b64_json", "quality": "hd"}, "b64_json"),
        ({"model": "dall-e-2", "response_format": "url", "n": 10, "size": "256x256"}, "url"),
    ],
)
def test_a_picture_for_n8n(ask, asked, has):
    """v2/actions/image/generate.operation.ts"""
    made = ask("/images/generations", json={"prompt": "a cat", **asked})
    assert [set(image) for image in made] == [{has}] * asked.get("n", 1)


@pytest.mark.parametrize("model", ["gpt-image-1", "dall-e-2"])
def test_an_edit_by_n8n(ask, jobs, redis, model):
    """v2/actions/image/edit.operation.ts"""
    knows(redis, "pix", "inpaint")
    is_gpt = model == "gpt-image-1"
    fields = {"prompt": "bluer", "model": model, "n": "1", "size": "1024x1024", "user": "u"}
    if is_gpt:
        more = {"background": "opaque", "input_fidelity": "high", "output_format": "webp"}
        fields |= more | {"output_compression": "80", "quality": "auto"}
    else:
        fields["response_format"] = "url"
    files = [("image[]" if is_gpt else "image", ("cat.png", png(), "image/png"))]
    files.append(("mask", ("mask.png", asymmetric_mask(), "image/png")))
    [made] = ask("/images/edits", data=fields, files=files)
    assert set(made) == ({"b64_json"} if is_gpt else {"url"})
    request = only(jobs).request
    assert (request["task"], request["width"]) == ("inpaint", 1024)
    assert request["output"]["format"] == ("webp" if is_gpt else "png")


# Python tools upon OpenAI's client


def test_langchain(client, finishing):  # noqa: F811
    """langchain-community 0.4.2, utilities/dalle_image_generator.py: it joins the addresses."""
    finishing()
    made = client.images.generate(prompt="a cat", n=2, size="1024x1024", model="dall-e-2")
    assert all(url.startswith("http") for url in "\n".join(i.url for i in made.data).split("\n"))


@pytest.mark.parametrize("download", [True, False])
def test_llama_index(client, finishing, download):  # noqa: F811
    """llama-index-tools-openai, image_generation/base.py: it tells the kind of a file by its first
    letter in base64."""
    finishing()
    made = client.images.generate(
        prompt="a cat",
        n=1,
        model="dall-e-3",
        quality="standard",
        size="1024x1024",
        response_format="b64_json" if download else "url",
        style="vivid",
        timeout=None,
    )
    [image] = made.data
    assert image.b64_json.startswith("i") if download else image.url.startswith("http")


# Keys


@pytest.mark.parametrize("header", ["Basic ", "Basic", "Bearer ", "Bearer none"])
def test_no_key_is_as_good_as_any_where_none_is_asked_for(served, here, header):  # noqa: ARG001
    asked = head("GET /v1/models HTTP/1.1", f"Authorization: {header}", "Connection: close")
    assert answer_and_close(served.url, asked).startswith(b"HTTP/1.1 200")


def test_a_key_comes_in_any_form_of_these_programs(http, guarded, made):
    token = made()
    basic = base64.b64encode(f"any:{token.reveal()}".encode()).decode()
    for headers in (bearer(token), {"Authorization": f"Basic {basic}"}):
        assert http.get("/v1/models", headers=headers).status_code == 200
    with OpenAI(base_url=f"{guarded.url}/v1", api_key=token.reveal()) as client:  # noqa: F811
        assert client.models.retrieve("gpt-image-1").id == "gpt-image-1"
