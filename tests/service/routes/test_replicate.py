"""Replicate's API of predictions, asked by Replicate's own client over a real socket."""

import io
import json

import httpx2
import pytest
import replicate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from replicate.exceptions import ModelError, ReplicateError

from darkroom.job import JobError, JobStatus
from service.dialects.replicate_requests import PICTURES, Input
from tests.outside import outside, replies
from tests.service.conftest import knows, only, png
from tests.service.masks import CORNER, corner_png, white_in
from tests.service.routes.test_openai import uri

V1 = "/replicate/v1"
CAT = {"prompt": "a cat"}


@pytest.fixture
def client(served, here, predicting):  # noqa: ARG001
    return predicting(served)


@pytest.fixture
def created(client, jobs):
    """The request of a new prediction with these inputs."""

    def create(version="pix", **given):
        made = client.predictions.create(version=version, input=CAT | given)
        return jobs.fetch(made.id).request

    return create


# Made, waited for, read, canceled, listed


def test_run_waits_for_the_pictures(client, finishing, jobs):
    finishing()
    output = client.run("darkroom/pix", CAT | {"num_outputs": 2, "width": 64, "height": 128})
    request = only(jobs).request
    assert (request["prompt"], request["num_images"]) == ("a cat", 2)
    assert (request["width"], request["height"], request["task"]) == (64, 128, "text-to-image")
    pictures = [Image.open(io.BytesIO(httpx2.get(url).content)) for url in output]
    assert [each.getpixel((0, 0)) for each in pictures] == [(0, 9, 9), (1, 9, 9)]


def test_pictures_come_as_data_where_a_client_asks_for_them(served, finishing, work, predicting):
    client = predicting(served, headers={"X-Darkroom-Output": "data"})
    finishing()
    [output] = client.run("darkroom/pix", CAT)
    assert Image.open(io.BytesIO(output.read())).size == (8, 8)
    prediction = client.predictions.create(version="pix", input=CAT)
    work.all()
    assert client.predictions.get(prediction.id).output[0].startswith("data:image/png;base64,")


def test_a_prediction_from_its_begin_to_its_end(client, served, work):
    made = client.predictions.create(version="pix", input=CAT | {"seed": 7})
    assert (made.status, made.model, made.version) == ("starting", "darkroom/pix", "pix")
    assert (made.output, made.error, made.started_at, made.metrics) == (None, None, None, {})
    here = f"{served.url}{V1}/predictions/{made.id}"
    assert (made.urls["get"], made.urls["cancel"]) == (here, f"{here}/cancel")
    claim = work.claim()
    made.reload()
    assert (made.status, made.output) == ("processing", None)
    work.finish(claim)
    made.wait()
    assert made.status == "succeeded"
    assert made.output[0].startswith(f"{served.url}/api/v1/images/img_")
    assert (made.input["seed"], made.input["num_outputs"]) == (7, 1)
    assert made.metrics["total_time"] >= made.metrics["predict_time"] >= 0
    assert made.created_at <= made.started_at <= made.completed_at
    assert made.completed_at.endswith("Z")


def test_the_input_that_is_told_makes_the_same_request(client, jobs, redis):
    knows(redis, "pix", "text-to-image", "image-to-image", "inpaint")
    given = {"image": uri(png()), "mask": uri(png()), "prompt_strength": 0.5}
    given |= {"output_format": "jpg", "output_quality": 70, "negative_prompt": "a dog"}
    first = client.predictions.create(version="pix", input=CAT | given)
    again = client.predictions.create(version=first.version, input=first.input)
    assert first.input["image"].startswith("file_")
    assert jobs.fetch(again.id).request == jobs.fetch(first.id).request


def test_who_waits_too_short_is_told_that_it_starts(client, api, work):
    asked = {"version": "pix", "input": CAT}
    answer = api.post(f"{V1}/predictions", json=asked, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (201, "starting")
    claim = work.claim()
    with_key = {"Prefer": "wait=1", "Idempotency-Key": "k"}
    running = api.post(f"{V1}/predictions", json=asked, headers=with_key).json()
    assert running["status"] == "starting"
    work.finish(claim)
    work.all()
    assert client.predictions.get(running["id"]).status == "succeeded"


def test_a_running_job_is_starting_to_who_waited(client, background, work):
    """The answer comes before the client gives up: half a second after the time that it named."""
    background(work.claim)
    made = client.predictions.create(version="pix", input=CAT, wait=1)
    assert made.status == "starting"
    made.reload()
    assert made.status == "processing"


def test_cancel(client, jobs):
    made = client.predictions.create(version="pix", input=CAT)
    made.cancel()
    assert (made.status, made.output) == ("canceled", None)
    made.cancel()
    assert only(jobs).status is JobStatus.CANCELED


def test_predictions_are_listed_page_by_page(client, submitted, monkeypatch):
    monkeypatch.setattr("service.routes.replicate.PAGE", 2)
    native = submitted()["id"]
    made = [client.predictions.create(version="pix", input=CAT).id for _ in range(2)]
    pages = list(replicate.pagination.paginate(client.predictions.list))
    assert [[each.id for each in page] for page in pages] == [made[::-1], [native]]


def test_a_job_that_fails(client, finishing):
    finishing(JobStatus.FAILED, error=JobError(code="out_of_memory", message="Too large."))
    with pytest.raises(ModelError, match="Too large") as caught:
        client.run("darkroom/pix", CAT)
    assert caught.value.prediction.status == "failed"


def test_cancel_after(api, jobs, redis):
    path, body = f"{V1}/models/darkroom/pix/predictions", {"input": CAT}
    made = api.post(path, json=body, headers={"Cancel-After": "1m30s"}).json()
    created = jobs.fetch(made["id"]).created_at.timestamp()
    assert redis.zscore("darkroom:deadlines", made["id"]) == pytest.approx(created + 90, abs=1)
    refused = api.post(path, json=body, headers={"Cancel-After": "soon"})
    assert refused.status_code == 422
    assert "cancel-after: Must be a time" in refused.json()["detail"]


# Inputs


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"num_images": 2}, {"num_images": 2}),
        ({"n": 3}, {"num_images": 3}),
        ({"size": "128x64"}, {"width": 128, "height": 64}),
        ({"aspect_ratio": "1:4"}, {"width": 64, "height": 128}),
        ({"aspect_ratio": "custom", "width": 128}, {"width": 128, "height": 64}),
        ({"guidance": 3, "num_inference_steps": 5}, {"guidance_scale": 3.0}),
        ({"scheduler": "K_EULER", "seed": None}, {"scheduler": "EulerDiscreteScheduler"}),
        ({"go_fast": True, "disable_safety_checker": True, "nothing": {}}, {"prompt": "a cat"}),
    ],
)
def test_inputs_by_the_names_that_models_give_them(created, inputs, expected):
    request = created(**inputs)
    assert {name: request[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["strength", "prompt_strength"])
def test_how_much_of_a_picture_is_made_anew(created, name):
    request = created(image=uri(png()), **{name: 0.25})
    assert (request["task"], request["strength"]) == ("image-to-image", 0.25)


def test_how_pictures_are_written(created):
    output = created(output_format="jpg", output_quality=0)["output"]
    assert (output["format"], output["quality"]) == ("jpeg", 1)


def test_a_lora_by_its_weights(created, redis):
    knows(redis, "other", "text-to-image", loras=("ink",))
    assert created("other", lora_weights="ink", lora_scale=0.5)["loras"][0] == {
        "name": "ink",
        "scale": 0.5,
    }


def test_a_mask_is_white_where_to_repaint(created, redis, here):
    knows(redis, "pix", "inpaint")
    request = created(image=uri(png()), mask=uri(corner_png()))
    assert white_in(here, request["mask_image"]) == CORNER


@pytest.mark.parametrize(
    ("tasks", "inputs", "task"),
    [
        (("edit",), {"input_image": 1, "input_image_2": 1}, "edit"),
        (("edit",), {"image_input": [1, 1]}, "edit"),
        (("image-to-image", "upscale"), {"image": 1}, "image-to-image"),
        (("upscale",), {"image": 1}, "upscale"),
    ],
)
def test_a_picture_decides_the_task(created, redis, tasks, inputs, task):
    knows(redis, "pix", *tasks)
    sent = {
        n: [uri(png())] * len(v) if isinstance(v, list) else uri(png()) for n, v in inputs.items()
    }
    request = created(**sent)
    assert request["task"] == task
    assert len(request.get("images", [1, 1] if task == "edit" else [1])) == (
        2 if task == "edit" else 1
    )


def test_output_is_taken_as_input(client, work, jobs):
    client.predictions.create(version="pix", input=CAT)
    work.all()
    url = client.predictions.list()[0].output[0]
    made = client.predictions.create(version="pix", input=CAT | {"image": url})
    assert jobs.fetch(made.id).request["task"] == "image-to-image"


# Models


@pytest.mark.parametrize(
    ("version", "model"),
    [
        ("other", "other"),
        ("darkroom/other", "other"),
        ("darkroom/other:other", "other"),
        ("tiny/other", "other"),
        ("tiny/other:39ed52f2a78e", "other"),
        ("39ed52f2a78e", "pix"),
        ("stability-ai/sdxl:39ed52f2a78e", "pix"),
    ],
)
def test_which_model_a_version_means(client, jobs, version, model):
    made = client.predictions.create(version=version, input=CAT)
    assert jobs.fetch(made.id).request["model"] == model
    assert ("took its place" in made.logs) == (model == "pix")


# Errors


@pytest.mark.parametrize(
    ("body", "field", "text"),
    [
        ({}, "version", "version: This field is required."),
        ({"version": 3}, "version", "version: "),
        ({"version": "pix", "input": []}, "input", "input: "),
        ({"version": "pix", "input": {"width": "x"}}, "input.width", "input.width: "),
        ({"version": "pix", "input": CAT | {"width": 63}}, "input.width", "a multiple of 8"),
        ({"version": "pix", "input": CAT | {"num_outputs": 9}}, "input.num_outputs", "at most 4"),
        ({"version": "pix", "input": CAT | {"aspect_ratio": "wide"}}, "input.aspect_ratio", "16:9"),
        ({"version": "pix", "input": CAT | {"image": 3}}, "input.image", "Must be text"),
        ({"version": "pix", "input": CAT | {"image": "x"}}, "input.image", "picture"),
        ({"version": "pix", "input": CAT | {"mask": "x"}}, "input.image", "beside a mask"),
    ],
)
def test_what_is_wrong_is_told_by_its_name_here(api, jobs, body, field, text):
    answer = api.post(f"{V1}/predictions", json=body)
    told = answer.json()
    assert (answer.status_code, told["status"], told["title"]) == (422, 422, "Invalid parameters")
    assert told["invalid_fields"][0]["field"] == field
    assert text in told["detail"]
    assert jobs.page().jobs == []


def test_the_client_raises_what_is_wrong(client):
    with pytest.raises(ReplicateError) as caught:
        client.run("darkroom/pix", CAT | {"width": 63})
    assert (caught.value.status, caught.value.title) == (422, "Invalid parameters")
    assert caught.value.detail.startswith("input.width: Must be a multiple of 8.")


@pytest.mark.parametrize(
    ("method", "path", "asked", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", f"/predictions/job_{'0' * 32}", {}, 404),
        ("POST", "/predictions/strange/cancel", {}, 404),
        ("DELETE", "/predictions", {}, 405),
        ("GET", "/predictions?cursor=x", {}, 422),
        ("POST", "/predictions", {"data": {"version": "pix"}}, 415),
        ("POST", "/predictions", {"content": b"{"}, 400),
        ("POST", "/predictions", {"json": {"version": "a" * 2**20}}, 413),
    ],
)
def test_every_error_has_the_shape_of_this_api(api, method, path, asked, status):
    answer = api.request(method, f"{V1}{path}", **asked)
    told = answer.json()
    assert (answer.status_code, told["status"]) == (status, status)
    assert told["title"]
    assert told["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]


# Keys


def test_a_key_is_asked_for_and_sees_only_its_own(guarded, http, made, guarded_work, predicting):
    with pytest.raises(ReplicateError) as caught:
        predicting(guarded, "dk_wrong").predictions.list()
    assert caught.value.status == 401
    mine, others = made("mine"), made("others")
    client = predicting(guarded, mine.reveal())
    prediction = client.predictions.create(version="pix", input=CAT)
    stranger = predicting(guarded, others.reveal())
    for ask in (stranger.predictions.get, stranger.predictions.cancel):
        with pytest.raises(ReplicateError) as caught:
            ask(prediction.id)
        assert caught.value.status == 404
    assert stranger.predictions.list().results == []
    guarded_work.all()
    url = client.predictions.get(prediction.id).output[0]
    assert http.get(url.partition("?")[0]).status_code == 401
    assert Image.open(io.BytesIO(http.get(url).content)).size == (8, 8)
    again = client.predictions.create(version="pix", input=CAT | {"image": url})
    assert again.input["image"].startswith("file_")


def test_a_client_that_takes_processing_for_an_end_gets_nothing(predicting):
    """Why the answer to who waited too short is `starting`: what clients make of another word."""
    told = {"id": "x", "model": "a/b", "version": "v", "input": {}, "status": "processing"}
    with outside(replies(201, json.dumps(told).encode())) as server:
        assert predicting(server).run("a/b", {}) is None


# Whatever is sent


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({*Input.model_fields, *PICTURES, "n", "nothing"}))


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    inputs=st.dictionaries(NAMES, anything, max_size=4) | anything,
    more=st.dictionaries(
        st.sampled_from(["webhook", "webhook_events_filter", "x"]), anything, max_size=2
    ),
    wait=st.sampled_from(["", "wait=0", "wait=x", "respond-async"]),
)
def test_any_body(api, redis, inputs, more, wait):
    redis.delete("darkroom:queues")  # a full queue would hide the rest
    raw = json.dumps({"version": "pix", "input": inputs} | more)
    headers = {"Content-Type": "application/json", "Prefer": wait}
    answer = api.post(f"{V1}/predictions", content=raw, headers=headers)
    assert answer.status_code in (201, 400, 403, 413, 422), answer.text
    assert ("id" in answer.json()) == (answer.status_code == 201)
