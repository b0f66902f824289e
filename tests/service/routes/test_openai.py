"""The OpenAI Images API, asked by OpenAI's own client over a real socket."""

import asyncio
import base64
import io
import json
import threading

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from darkroom.job import ImageRecord, JobError, JobStatus
from tests.outside import outside, replies
from tests.service.conftest import bearer, knows, only, picture, png
from tests.service.masks import CORNER, white_in
from tests.service.routes.test_previews import show
from tests.service.wire import answer_and_close, head

V1 = "/v1"
PROMPT = {"prompt": "a cat"}


@pytest.fixture
def client(served, here):  # noqa: ARG001
    with OpenAI(base_url=f"{served.url}{V1}", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_picture_from_a_prompt(client, finishing, jobs):
    finishing()
    made = client.images.generate(prompt="a cat", model="pix", size="64x128", n=2)
    job = only(jobs)
    assert job.request["prompt"] == "a cat"
    assert (job.request["width"], job.request["height"], job.request["num_images"]) == (64, 128, 2)
    assert len(made.data) == 2
    assert opened(made.data[1].b64_json).getpixel((0, 0)) == (1, 9, 9)
    assert made.created == int(job.created_at.timestamp())
    assert (made.size, made.output_format, made.background) == ("8x8", "png", "opaque")
    assert made.quality is made.usage is None
    assert httpx2.get(made.data[0].url).content == base64.b64decode(made.data[0].b64_json)


def test_the_async_client(served, finishing):
    finishing()

    async def ask():
        async with AsyncOpenAI(base_url=f"{served.url}{V1}", api_key="none") as client:
            return await client.images.generate(prompt="a cat")

    assert opened(asyncio.run(ask()).data[0].b64_json).size == (8, 8)


@pytest.mark.parametrize(
    ("asked", "has"),
    [
        ({}, {"url", "b64_json"}),
        ({"model": "dall-e-3"}, {"url", "b64_json"}),
        ({"model": "gpt-image-1"}, {"b64_json"}),
        ({"model": "chatgpt-image-latest"}, {"b64_json"}),
        ({"model": "gpt-image-1", "response_format": "url"}, {"url"}),
        ({"response_format": "b64_json"}, {"b64_json"}),
        ({"response_format": "url"}, {"url"}),
    ],
)
def test_in_which_form_pictures_come(client, finishing, asked, has):
    finishing()
    [image] = client.images.generate(prompt="a cat", **asked).data
    assert {name for name in ("url", "b64_json") if getattr(image, name)} == has


def test_what_clients_ask_is_what_the_job_has(client, finishing, jobs, redis):
    knows(redis, "other", "text-to-image", loras=("ink",))
    finishing()
    made = client.images.generate(
        prompt="a cat",
        model="other",
        output_format="webp",
        output_compression=0,
        quality="hd",
        user="u",
        style="vivid",
        moderation="low",
        background="auto",
        extra_body={
            "negative_prompt": "a dog",
            "guidance_scale": 3,
            "seed": 5,
            "scheduler": "Euler",
            "loras": [{"name": "ink"}],
            "anything": 1,
        },
    )
    request = only(jobs).request
    expected = {"negative_prompt": "a dog", "guidance_scale": 3.0, "seed": 5}
    expected |= {"scheduler": "EulerDiscreteScheduler", "num_inference_steps": 38}
    assert expected.items() <= request.items()
    assert (request["output"]["format"], request["output"]["quality"]) == ("webp", 1)
    assert request["loras"][0]["name"] == "ink"
    assert (made.output_format, made.quality) == ("webp", "high")


def test_steps_that_are_asked_for_go_before_the_quality(client, finishing, jobs):
    finishing()
    client.images.generate(prompt="a", quality="low", extra_body={"num_inference_steps": 7})
    assert only(jobs).request["num_inference_steps"] == 7


def test_an_unknown_model_is_the_default_one_and_a_guess_is_told(client, finishing, jobs):
    finishing()
    made = client.images.generate(prompt="a", model="my-model")
    assert only(jobs).request["model"] == "pix"
    told = "No model is called 'my-model' here; 'pix' took its place."
    assert told in made.model_extra["warnings"]
    assert told in only(jobs).warnings


def test_models(client):
    listed = {each.id: each for each in client.models.list()}
    assert {"pix", "other", "demo", "gpt-image-1", "dall-e-3"} <= set(listed)
    assert listed["gpt-image-1"].model_extra["root"] == "pix"
    assert client.models.retrieve("tiny/pix").id == "tiny/pix"
    assert client.models.retrieve("gpt-image-1").owned_by == "darkroom"


def test_the_list_of_models_ends_with_a_slash_or_without(api):
    assert api.get(f"{V1}/models/").json() == api.get(f"{V1}/models").json()


@pytest.mark.parametrize("path", ["tiny/pix", "tiny%2Fpix"])
def test_names_of_models_may_hold_a_slash(api, path):
    assert api.get(f"{V1}/models/{path}").json()["id"] == "tiny/pix"


def test_models_that_make_no_pictures_of_these_kinds_are_not_listed(client, redis):
    knows(redis, "other", "upscale")
    assert "other" not in {each.id for each in client.models.list()}


# Edits


def test_an_edit_by_a_model_that_edits(client, finishing, jobs, redis):
    knows(redis, "pix", "text-to-image", "edit", "inpaint")
    finishing()
    made = client.images.edit(prompt="bluer", image=[png(color=(n, 0, 0)) for n in range(16)])
    request = only(jobs).request
    assert (request["task"], len(request["images"]), len(made.data)) == ("edit", 16, 1)
    assert "warnings" not in made.model_extra or "instructions" not in str(made.model_extra)


@pytest.mark.parametrize("masked", [True, False])
def test_an_edit_by_one_that_does_not_says_so(client, finishing, jobs, redis, masked):
    knows(redis, "pix", "text-to-image", "image-to-image", "inpaint")
    finishing()
    more = {"mask": asymmetric_mask()} if masked else {}
    made = client.images.edit(prompt="blue", image=png(), extra_body={"strength": 0.5}, **more)
    request = only(jobs).request
    assert request["task"] == ("inpaint" if masked else "image-to-image")
    assert request["strength"] == 0.5
    assert "does not follow instructions" in made.model_extra["warnings"][0]


def asymmetric_mask():
    """Transparent in its left upper corner alone, in colours that say the opposite."""
    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    mask.paste((255, 255, 255, 0), (0, 0, 3, 2))
    mask.paste((255, 255, 255, 255), (5, 5, 8, 8))
    file = io.BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("tasks", [("edit",), ("inpaint",)])
def test_a_mask_is_painted_anew_where_it_is_transparent(
    api, client, finishing, jobs, redis, here, as_json, tasks
):
    knows(redis, "pix", *tasks)
    finishing()
    if as_json:
        body = {"prompt": "a", "images": [{"image_url": uri(png())}]}
        body["mask"] = {"image_url": uri(asymmetric_mask())}
        assert api.post(f"{V1}/images/edits", json=body).status_code == 200
    else:
        client.images.edit(prompt="a", image=png(), mask=asymmetric_mask())
    assert white_in(here, only(jobs).request["mask_image"]) == CORNER


def uri(data):
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_pictures_may_be_those_of_earlier_jobs(
    api, served, finishing, redis, submitted, work, jobs
):
    submitted()
    first = work.all()
    knows(redis, "pix", "edit")
    image = first.images[0]
    given = [{"file_id": image.id}, {"image_url": f"{served.url}{image.url}"}, image.url]
    finishing()
    answer = api.post(f"{V1}/images/edits", json={"prompt": "a", "images": given})
    assert answer.status_code == 200, answer.text
    newest = jobs.page().jobs[0]
    assert len(set(newest.request["images"])) == 1


def test_a_variation(client, finishing, jobs):
    finishing()
    made = client.images.create_variation(image=png(), n=2, size="64x64", response_format="url")
    assert (only(jobs).request["task"], len(made.data)) == ("image-to-image", 2)
    assert made.data[0].b64_json is None


def test_numbers_of_a_form_are_texts(api, finishing, jobs):
    finishing()
    fields = {"prompt": "a", "n": "2", "seed": "7", "strength": "0.25", "stream": "false"}
    fields |= {"size": "", "quality": "low", "user": "x"}
    answer = api.post(f"{V1}/images/edits", data=fields, files={"image[]": ("a.png", png())})
    assert answer.status_code == 200, answer.text
    request = only(jobs).request
    assert (request["num_images"], request["seed"], request["strength"]) == (2, 7, 0.25)


# Streams


@pytest.mark.parametrize("kind", ["image_generation", "image_edit"])
def test_a_stream(client, finishing, jobs, kind):
    finishing()
    asked = {"prompt": "a", "n": 2, "stream": True}
    edit = client.images.edit
    stream = edit(image=png(), **asked) if "edit" in kind else client.images.generate(**asked)
    events = list(stream)
    assert [each.type for each in events] == [f"{kind}.completed"] * 2
    last = events[-1]
    assert opened(last.b64_json).getpixel((0, 0)) == (1, 9, 9)
    assert (last.quality, last.size, last.output_format) == ("auto", "8x8", "png")
    assert last.usage.total_tokens == 0
    assert stream.response.headers["x-darkroom-job-id"] == only(jobs).id


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize("kind", ["image_generation", "image_edit"])
def test_early_pictures_come_in_between(client, work, kind, form):
    asked = {"prompt": "a", "stream": True, "partial_images": 2, "output_format": form}
    edit = client.images.edit
    stream = edit(image=png(), **asked) if "edit" in kind else client.images.generate(**asked)
    claim = work.claim()
    assert claim.preview == 1
    for index, step in enumerate((2, 3)):
        show(work, claim, picture("webp", color=(200, 9 * index, 9)), step=step)
        early = next(stream)
        assert (early.type, early.partial_image_index) == (f"{kind}.partial_image", index)
        assert (early.size, early.quality, early.background) == ("64x64", "auto", "opaque")
        assert early.output_format == form
        shown = opened(early.b64_json)
        assert (shown.format.lower(), shown.size) == (form, (8, 8))
        assert shown.convert("RGB").getpixel((0, 0))[0] > 150
    work.finish(claim)
    [last] = stream
    assert last.type == f"{kind}.completed"
    assert last.created_at == early.created_at


@pytest.mark.parametrize("stream", [True, False])
def test_who_asks_for_no_early_pictures_gets_none(client, background, work, stream):
    claims = []

    def end():
        claims.append(work.claim())
        show(work, claims[0], picture("webp"))
        work.finish(claims[0])

    background(end)
    more = {"stream": True, "partial_images": 0} if stream else {"partial_images": 3}
    made = client.images.generate(prompt="a", **more)
    assert [each.type for each in made] == ["image_generation.completed"] if stream else made.data
    assert claims[0].preview is None


@pytest.mark.parametrize(
    ("status", "why", "code"),
    [
        (JobStatus.FAILED, "invalid_output", "generation_failed"),
        (JobStatus.FAILED, "safety_blocked", "content_filtered"),
        (JobStatus.CANCELED, "deadline_exceeded", "generation_failed"),
    ],
)
def test_a_stream_whose_job_fails(client, finishing, status, why, code):
    finishing(status, error=JobError(code=why, message="No numbers."))
    with pytest.raises(openai.APIError, match="No numbers") as caught:
        list(client.images.generate(prompt="a", stream=True))
    assert caught.value.code == code


def test_what_is_wrong_with_a_stream_is_told_before_it_begins(client, jobs):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a", stream=True, size="4096x64")
    assert caught.value.param == "size"
    assert jobs.page().jobs == []


def test_a_stream_names_its_events(api, finishing):
    finishing()
    with api.stream("POST", f"{V1}/images/generations", json=PROMPT | {"stream": True}) as answer:
        text = "".join(answer.iter_text())
    assert answer.headers["content-type"].startswith("text/event-stream")
    event, data = text.strip().split("\n")
    assert event == "event: image_generation.completed"
    assert json.loads(data.removeprefix("data: "))["type"] == event.removeprefix("event: ")


# Errors


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({"n": 11}, "n", "invalid_value"),
        ({"n": 5}, "n", "invalid_value"),
        ({"size": "big"}, "size", "invalid_value"),
        ({"size": "4096x64"}, "size", "invalid_value"),
        ({"background": "transparent"}, "background", "invalid_value"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"output_compression": 101}, "output_compression", "invalid_value"),
        ({"quality": "best"}, "quality", "invalid_value"),
        ({"partial_images": 4}, "partial_images", "invalid_value"),
        ({"extra_body": {"seed": -5}}, "seed", "invalid_value"),
        ({"extra_body": {"scheduler": "None"}}, "scheduler", "invalid_value"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(client, jobs, asked, param, code):
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a", **asked)
    error = caught.value
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")
    assert error.request_id.startswith("req_")
    assert jobs.page().jobs == []


def test_a_missing_prompt(api):
    answer = api.post(f"{V1}/images/generations", json={})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("prompt", "missing_required_parameter")
    assert error["message"] == "prompt: This field is required."


@pytest.mark.parametrize(
    ("tasks", "asked", "param", "said"),
    [
        (("image-to-image",), {"image": [png(), png()]}, "image", "works from one picture, 2 came"),
        (("edit",), {"image": [png()] * 17}, "image", "at most 16"),
        (("edit",), {"image": b"no picture"}, "image", "undamaged picture"),
        (("edit",), {"image": png(), "mask": png()}, "mask", "no transparent part"),
        (("inpaint",), {"image": png(), "extra_body": {"markup": "x"}}, "markup", "drawing"),
        (("text-to-image",), {"image": png()}, "model", "not image-to-image"),
    ],
)
def test_an_edit_that_cannot_be_made(client, redis, jobs, tasks, asked, param, said):
    knows(redis, "pix", *tasks)
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        client.images.edit(prompt="a", **asked)
    assert caught.value.param == param
    assert jobs.page().jobs == []


def test_a_stored_picture_is_no_mask(api, redis, submitted, jobs):
    sent = submitted(image=uri(png()))["request"]["image"]
    knows(redis, "pix", "edit")
    body = {"prompt": "a", "images": [{"file_id": sent}], "mask": {"file_id": sent}}
    answer = api.post(f"{V1}/images/edits", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "mask")
    assert "no transparency any more" in answer.json()["error"]["message"]
    assert len(jobs.page().jobs) == 1


@pytest.mark.parametrize(
    ("ended", "status", "code"),
    [
        ((JobStatus.FAILED, "out_of_memory"), 500, "generation_failed"),
        ((JobStatus.FAILED, "unsupported"), 400, "invalid_value"),
        ((JobStatus.CANCELED, None), 409, "canceled"),
        ((JobStatus.SUCCEEDED, None), 400, "content_filtered"),
    ],
)
def test_a_job_without_a_picture_is_not_asked_for_again(
    served, background, work, jobs, ended, status, code
):
    def end():
        outcome, why = ended
        error = JobError(code=why, message="It went wrong.") if why else None
        claim = work.claim()
        if outcome is JobStatus.CANCELED:
            jobs.cancel(claim.job_id)
        else:
            withheld = [
                ImageRecord(
                    id=f"img_{'0' * 32}",
                    url=None,
                    width=8,
                    height=8,
                    seed=1,
                    bytes=None,
                    sha256=None,
                    flagged=True,
                )
            ]
            images = withheld if outcome is JobStatus.SUCCEEDED else []
            jobs.finish(claim, outcome, images=images, error=error)

    background(end)
    with (
        OpenAI(base_url=f"{served.url}{V1}", api_key="none", max_retries=3) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.images.generate(prompt="a")
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.response.headers["x-darkroom-job-id"] == only(jobs).id
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_client_that_is_not_told_so_asks_three_times():
    """Why a job that failed is answered with `X-Should-Retry`: what clients make of a bare 500."""
    failed = b'{"error": {"message": "No numbers.", "type": "server_error"}}'
    for more, times in (({}, 3), ({"X_Should_Retry": "false"}, 1)):
        with outside(replies(500, failed, Retry_After_Ms="1", **more)) as server:
            with (
                OpenAI(base_url=server.url, api_key="none") as client,
                pytest.raises(openai.InternalServerError),
            ):
                client.images.generate(prompt="a cat")
            assert len(server.asked) == times


def test_pictures_that_were_withheld_are_told(client, background, work):
    def end():
        claim = work.claim()
        kept, other = work.images(claim)
        lost = {"url": None, "bytes": None, "sha256": None, "flagged": True}
        images = [kept, other.model_copy(update=lost)]
        assert work.queue.finish(claim, JobStatus.SUCCEEDED, images=images) == "committed"

    background(end)
    made = client.images.generate(prompt="a", n=2)
    assert len(made.data) == 1
    assert "1 of 2 pictures were withheld." in made.model_extra["warnings"]


GENERATIONS = f"{V1}/images/generations"


EDITS = f"{V1}/images/edits"
TORN = {"content": b"--b\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}
NO_JSON = {"content": b"{", "headers": {"content-type": "application/json"}}


@pytest.mark.parametrize(
    ("method", "path", "asked", "status"),
    [
        ("GET", f"{V1}/nothing", {}, 404),
        ("DELETE", f"{V1}/models", {}, 405),
        ("POST", GENERATIONS, NO_JSON, 400),
        ("POST", GENERATIONS, {"data": {"prompt": "a"}}, 415),
        ("POST", GENERATIONS, {"json": {"prompt": "a" * 2**20}}, 413),
        ("POST", GENERATIONS, {"content": b"a" * 2**21}, 413),
        ("POST", GENERATIONS, {"json": PROMPT, "headers": {"idempotency-key": "a b"}}, 400),
        ("POST", EDITS, TORN, 400),
        ("GET", f"{V1}/models", {"headers": {"host": "evil.example"}}, 421),
    ],
)
def test_every_error_has_the_shape_of_this_api(api, method, path, asked, status):
    answer = api.request(method, path, **asked)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], bool(error["message"])) == ("invalid_request_error", True)
    assert answer.headers["x-request-id"]


def test_the_texts_of_a_form_are_bounded(api):
    answer = api.post(
        f"{V1}/images/edits", data={"prompt": "a" * 2**19}, files={"image": ("a.png", png())}
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "The texts of the form are too long."


def test_names_that_stand_for_no_model(serving, valkey, tmp_path, redis):  # noqa: ARG001
    (tmp_path / "models.toml").write_text(
        '[[models]]\nname = "pix"\nsource = "tiny/pix"\n[aliases]\n"*" = ""\n'
    )
    served = serving(redis_url=valkey.url, state_dir=tmp_path, models=tmp_path / "models.toml")
    with OpenAI(base_url=f"{served.url}{V1}", api_key="none") as client:
        with pytest.raises(openai.NotFoundError) as caught:
            client.images.generate(prompt="a", model="gpt-image-1")
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-image-1")
        assert [each.id for each in client.models.list()] == ["pix"]
    elsewhere = (
        ("/hf/gpt-image-1", {"inputs": "a cat"}),
        ("/replicate/v1/predictions", {"version": "nobody/knows", "input": {"prompt": "a cat"}}),
        ("/sdapi/v1/txt2img", {"override_settings": {"sd_model_checkpoint": "nobody"}}),
    )
    for path, body in elsewhere:
        refused = httpx2.post(f"{served.url}{path}", json=body)
        assert (refused.status_code, "No model is called" in refused.text) == (404, True), path
    unknown = "/replicate/v1/models/black-forest-labs/flux-schnell"
    for path in (unknown, f"{unknown}/versions", f"{unknown}/versions/39ed52f2a78e"):
        assert httpx2.get(f"{served.url}{path}").status_code == 404


# Keys


def test_keys_hold(http, guarded, made):
    with OpenAI(base_url=f"{guarded.url}{V1}", api_key="dk_wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
        assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")
    for header in ("Basic ", "Basic", "Bearer "):
        asked = head(f"GET {V1}/models HTTP/1.1", f"Authorization: {header}", "Connection: close")
        assert b'"code": "invalid_api_key"' in answer_and_close(guarded.url, asked), header
    with OpenAI(base_url=f"{guarded.url}{V1}", api_key=made().reveal()) as client:
        assert client.models.list().data
    reads = bearer(made("reads", ("read",)))
    refused = http.post(GENERATIONS, json=PROMPT, headers=reads)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


def test_pictures_of_another_key_are_not_there(http, made, guarded_work):
    theirs, mine = bearer(made("theirs")), bearer(made("mine"))
    body = {"prompt": "a", "image": uri(png())}
    sent = http.post("/api/v1/jobs", json=body, headers=theirs).json()["request"]["image"]
    image = guarded_work.all().images[0].id
    for given in (image, sent, f"img_{'0' * 32}", f"file_{'0' * 64}"):
        asked = {"prompt": "a", "images": [{"file_id": given}]}
        refused = http.post(f"{V1}/images/edits", json=asked, headers=mine)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "image"), given


def test_addresses_need_no_key(http, made, guarded_work, redis):
    asked, headers = {"prompt": "a cat", "response_format": "url"}, bearer(made("mine"))
    worker = threading.Thread(target=guarded_work.all)
    worker.start()
    answer = http.post(GENERATIONS, json=asked, headers=headers)
    worker.join()
    [image] = answer.json()["data"]
    assert Image.open(io.BytesIO(http.get(image["url"]).content)).size == (8, 8)
    assert http.get(image["url"].partition("?")[0]).status_code == 401
    edit = {"prompt": "a dog", "images": [{"image_url": image["url"]}]}
    knows(redis, "pix", "edit")
    worker = threading.Thread(target=guarded_work.all)
    worker.start()
    assert http.post(EDITS, json=edit, headers=headers).status_code == 200
    worker.join()


def test_limits_of_a_key(http, made):
    headers = bearer(made(per_minute=1))
    assert http.get(f"{V1}/models", headers=headers).status_code == 200
    refused = http.get(f"{V1}/models", headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.headers["retry-after"]


def test_a_picture_of_a_jpeg_job_is_one(client, finishing):
    finishing()
    [image] = client.images.generate(prompt="a", output_format="jpeg").data
    assert base64.b64decode(image.b64_json) == picture("jpeg", color=(0, 9, 9))
