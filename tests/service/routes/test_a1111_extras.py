"""Larger pictures, and what pictures say, by AUTOMATIC1111's API and `webuiapi`."""

import base64
import io

import pytest
from PIL import Image, PngImagePlugin
from webuiapi import WebUIApi

from darkroom.job import JobError, JobStatus
from tests.service.conftest import bearer, knows, only, png
from tests.service.routes.test_a1111 import SDAPI

A1111 = "a cat\nNegative prompt: a dog\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 3"


@pytest.fixture
def client(served, here):  # noqa: ARG001
    return WebUIApi(baseurl=f"{served.url}{SDAPI}")


def opened(size=(8, 8)):
    return Image.open(io.BytesIO(png(size)))


def test_a_picture_by_a_model_has_the_size_that_is_asked_for(client, background, work, redis, jobs):
    knows(redis, "other", "upscale", scheduler="DDIMScheduler")
    background(lambda: work.finish(work.claim()))
    made = client.extra_single_image(opened(), upscaler_1="other", upscaling_resize=2)
    request = only(jobs).request
    assert (request["task"], request["model"], request["width"]) == ("upscale", "other", 32)
    # What was made here is 8 pixels wide: of a picture a quarter of that.
    assert (made.image.size, made.image.getpixel((0, 0))) == ((4, 4), (0, 9, 9))


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"upscaler_1": "Lanczos", "upscaling_resize": 3}, (24, 36)),
        ({"upscaler_1": "None"}, (8, 12)),
        (
            {
                "upscaler_1": "Lanczos",
                "resize_mode": 1,
                "upscaling_resize_w": 20,
                "upscaling_resize_h": 20,
            },
            (20, 20),
        ),
    ],
)
def test_a_picture_by_a_filter_is_no_job(client, jobs, asked, size):
    assert client.extra_single_image(opened((8, 12)), **asked).image.size == size
    assert jobs.page().jobs == []


def test_several_pictures_by_a_model_are_a_job_each(client, background, work, redis, jobs):
    knows(redis, "other", "upscale", scheduler="DDIMScheduler")
    background(lambda: [work.finish(work.claim()) for _ in range(2)])
    sent = [opened(), opened((4, 4))]
    made = client.extra_batch_images(sent, upscaler_1="other", gfpgan_visibility=1)
    assert [each.size for each in made.images] == [(4, 4)] * 2
    assert made.info.count("Not done here: gfpgan_visibility.") == 1
    assert [job.request["width"] for job in jobs.page().jobs] == [16, 32]


def test_several_pictures_by_a_filter(client, jobs):
    made = client.extra_batch_images([opened(), opened((8, 12))], upscaler_1="Lanczos")
    assert [each.size for each in made.images] == [(16, 16), (16, 24)]
    assert jobs.page().jobs == []


def test_of_several_pictures_the_first_that_fails_is_told(api, background, work, redis, jobs):
    knows(redis, "other", "upscale", scheduler="DDIMScheduler")
    error = JobError(code="out_of_memory", message="Too large.")
    background(lambda: work.finish(work.claim(), JobStatus.FAILED, error=error))
    sent = {"data": base64.b64encode(png()).decode(), "name": "a"}
    body = {"imageList": [sent] * 2, "upscaler_1": "other"}
    refused = api.post(f"{SDAPI}/extra-batch-images", json=body)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (500, "false")
    assert refused.headers["x-darkroom-job-id"] == only(jobs).id
    for images in ([], [{}], [sent] * 101, sent):
        wrong = api.post(f"{SDAPI}/extra-batch-images", json={"imageList": images})
        assert (wrong.status_code, "imageList" in wrong.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"upscaler_1": "R-ESRGAN 4x+"}, "upscaler_1: No upscaler is called so. Must be one of"),
        ({"upscaler_1": "pix"}, "upscaler_1: "),
        ({"upscaling_resize": 0}, "upscaling_resize: "),
        ({"image": "?"}, "base64"),
        ({"image": None}, "image: "),
        (
            {
                "upscaler_1": "Lanczos",
                "resize_mode": 1,
                "upscaling_resize_w": 16384,
                "upscaling_resize_h": 16384,
            },
            "upscaling_resize: Would become 16384 x 16384",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(api, asked, said):
    body = {"image": base64.b64encode(png()).decode()} | asked
    refused = api.post(f"{SDAPI}/extra-single-image", json=body)
    assert refused.status_code == 422, refused.text
    assert said in refused.json()["detail"]


def test_what_a_picture_says(client):
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", A1111)
    file = io.BytesIO()
    opened().save(file, "PNG", pnginfo=text)
    made = client.png_info(Image.open(io.BytesIO(file.getvalue())))
    assert made.info == A1111
    assert made.parameters["Negative prompt"] == "a dog"
    assert made.json["items"] == {"parameters": A1111}
    assert client.png_info(opened()).json == {"info": "", "items": {}, "parameters": {}}


def test_whose_key_only_reads_may_ask_what_a_picture_says(http, made):
    body = {"image": base64.b64encode(png()).decode()}
    reads = bearer(made("reads", ("read",)))
    assert http.post(f"{SDAPI}/png-info", json=body, headers=reads).status_code == 200
    refused = http.post(f"{SDAPI}/extra-single-image", json=body, headers=reads)
    assert refused.status_code == 403


@pytest.mark.parametrize("image", ["", "?", "file_1", 7])
def test_what_is_no_picture_says_nothing(api, image):
    assert api.post(f"{SDAPI}/png-info", json={"image": image}).status_code == 422
