import base64
import io
import json

import pytest
from openai import OpenAI
from PIL import Image, ImageChops

from darkroom.provenance import request_of
from tests import tiny
from tests.running import darkroom as command

CAT = {"prompt": "a cat", "seed": 7}


def picture(darkroom, job: dict, index: int = 0) -> Image.Image:
    data = darkroom.http.get(job["images"][index]["url"]).raise_for_status().content
    return Image.open(io.BytesIO(data))


def png(colour: str, size: tuple[int, int] = (16, 16)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def made(darkroom, **request) -> dict:
    job = darkroom.finished(darkroom.submit(**request)["id"])
    assert job["status"] == "succeeded", job["error"]
    return job


def test_a_prompt_becomes_a_picture(darkroom):
    job = made(darkroom, **CAT, width=24, height=16)
    (record,) = job["images"]
    image = picture(darkroom, job)
    assert image.size == (record["width"], record["height"]) == (24, 16)
    assert job["progress"]["ratio"] == 1.0
    assert job["attempts"] == 1
    assert job["worker"] == "worker"
    assert set(job["timings"]) >= {"queued", "encode", "denoise", "decode", "save", "total"}
    assert all(job["timings"][stage] is not None for stage in ("queued", "denoise", "total"))


def test_the_same_request_gives_the_same_picture(darkroom):
    first = made(darkroom, **CAT)
    again = made(darkroom, **first["request"])
    other = made(darkroom, **{**first["request"], "seed": 8})
    assert picture(darkroom, first).tobytes() == picture(darkroom, again).tobytes()
    assert picture(darkroom, first).tobytes() != picture(darkroom, other).tobytes()


def test_picture_i_of_a_job_is_the_picture_of_seed_plus_i(darkroom):
    both = made(darkroom, **CAT, num_images=2)
    second = made(darkroom, prompt="a cat", seed=8)
    assert [image["seed"] for image in both["images"]] == [7, 8]
    difference = ImageChops.difference(picture(darkroom, both, 1), picture(darkroom, second))
    assert max(high for _, high in difference.getextrema()) <= tiny.ROUNDING


def test_a_picture_carries_what_made_it(darkroom):
    job = made(darkroom, **CAT, negative_prompt="dog")
    text = picture(darkroom, job).text
    assert json.loads(text["darkroom"])["request"] == job["request"]
    assert text["parameters"].startswith("a cat\nNegative prompt: dog\nSteps: 4, Sampler: ")


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_what_a_picture_says_posted_back_gives_the_same_file(darkroom, image_format):
    asked = {"num_images": 2, "deterministic": True, "output": {"format": image_format}}
    others = [darkroom.submit(prompt=f"dog {i}", num_inference_steps=30) for i in range(3)]
    job = made(darkroom, **CAT, **asked, image=png("red"), strength=0.8)
    (first, second) = (darkroom.http.get(image["url"]) for image in job["images"])
    assert first.headers["content-type"] == f"image/{image_format}"
    again = made(darkroom, **request_of(second.content))
    assert len(again["images"]) == 1
    replayed = picture(darkroom, again)
    assert replayed.format == image_format.upper()
    assert replayed.tobytes() == Image.open(io.BytesIO(second.content)).tobytes()
    assert replayed.tobytes() != Image.open(io.BytesIO(first.content)).tobytes()
    for other in others:
        assert darkroom.finished(other["id"])["status"] == "succeeded"


def test_the_command_line_makes_a_picture_again(darkroom, tmp_path):
    first, again = tmp_path / "first.jpg", tmp_path / "again.jpg"
    wanted = ("generate", "a cat", "-o", first, "--seed", "7", "--url", darkroom.url)
    assert command(*wanted).returncode == 0
    assert Image.open(io.BytesIO(first.read_bytes())).format == "JPEG"
    replay = command("generate", "--replay", first, "-o", again, "--url", darkroom.url)
    assert replay.returncode == 0, replay.stderr
    assert again.read_bytes() == first.read_bytes()


def test_image_to_image_stays_near_its_input_at_low_strength(darkroom):
    near = made(darkroom, **CAT, image=png("red"), strength=0.0, num_inference_steps=10)
    assert near["request"]["task"] == "image-to-image"
    assert near["request"]["image"].startswith("file_")
    far = made(darkroom, **{**near["request"], "strength": 1.0})
    assert picture(darkroom, near).tobytes() != picture(darkroom, far).tobytes()
    assert far["progress"]["steps"] == 10


def test_a_long_prompt_is_read_to_its_end(darkroom):
    cats = "cat " * 20
    dog, bird = (
        made(darkroom, prompt=cats + last, seed=1, scheduler="DDIM") for last in ("dog", "bird")
    )
    assert dog["warnings"] == bird["warnings"] == []
    assert picture(darkroom, dog).tobytes() != picture(darkroom, bird).tobytes()


def test_a_running_job_shows_its_progress_and_ends_when_canceled(darkroom):
    job = darkroom.submit(**CAT, num_inference_steps=20_000)
    url = f"/api/v1/jobs/{job['id']}"

    def step() -> dict | None:
        progress = darkroom.http.get(url).json()["progress"]
        return progress if progress and progress["step"] > 2 else None

    progress = darkroom.until(step, "the job has made steps")
    assert progress["steps"] == 20_000
    assert progress["eta_s"] > 0
    assert darkroom.http.post(f"{url}/cancel").status_code == 202
    assert darkroom.finished(job["id"])["status"] == "canceled"
    darkroom.until(lambda: darkroom.worker("worker")["running"] == 0, "the engine let it go")


def test_a_queued_job_past_its_deadline_is_canceled_while_it_runs(darkroom):
    job = darkroom.submit(**CAT, num_inference_steps=20_000, deadline_s=0.5)
    ended = darkroom.finished(job["id"])
    assert (ended["status"], ended["error"]["code"]) == ("canceled", "deadline_exceeded")


def test_a_model_that_cannot_be_loaded_fails_its_jobs_and_says_why(darkroom):
    failed = darkroom.finished(darkroom.submit(**CAT, model="broken")["id"])
    assert failed["error"]["code"] == "model_load_failed"
    assert "model_index.json" in failed["error"]["message"]
    model = darkroom.http.get("/api/v1/models/broken").json()
    assert model["error"] == failed["error"]["message"]
    made(darkroom, **CAT)


def test_a_job_for_a_model_that_nobody_serves_waits_with_a_warning(darkroom):
    job = darkroom.submit(**CAT, model="unserved")
    assert job["status"] == "queued"
    assert "unserved" in " ".join(job["warnings"])
    ready = darkroom.http.get("/readyz")
    assert ready.status_code == 200
    darkroom.http.post(f"/api/v1/jobs/{job['id']}/cancel").raise_for_status()


@pytest.mark.parametrize("how", ["wait", "accept"])
def test_a_picture_in_one_request(darkroom, how):
    headers = {"Prefer": "wait=30"} | ({"Accept": "image/png"} if how == "accept" else {})
    answer = darkroom.http.post("/api/v1/jobs", json=CAT, headers=headers)
    assert answer.status_code == 200
    if how == "accept":
        assert Image.open(io.BytesIO(answer.content)).size == (16, 16)
    else:
        assert answer.json()["status"] == "succeeded"


def test_jobs_of_all_kinds_share_passes(darkroom):
    before = darkroom.worker("worker")["joined_passes"]
    ids = [
        darkroom.submit(
            prompt=f"cat {i}",
            num_inference_steps=20 + i,
            guidance_scale=(1.0, 7.5)[i % 2],
            scheduler=("DDIMScheduler", "EulerDiscreteScheduler")[i // 2 % 2],
            **({"image": png("blue"), "strength": 0.9} if i % 3 == 0 else {}),
        )["id"]
        for i in range(8)
    ]
    assert {darkroom.finished(job_id)["status"] for job_id in ids} == {"succeeded"}
    darkroom.until(
        lambda: darkroom.worker("worker")["joined_passes"] > before, "the worker has told of them"
    )


def test_a_client_of_openai_paints_anew_what_is_transparent_in_its_mask(darkroom):
    """And nothing else: here the upper left, which with black and white the other way round would
    be the only part that stays."""
    before = Image.effect_noise((32, 32), 80).convert("RGB")
    mask = Image.new("RGBA", (32, 32), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 12, 8))
    files = [io.BytesIO(), io.BytesIO()]
    for image, file in zip((before, mask), files, strict=True):
        image.save(file, "PNG")
    with OpenAI(base_url=f"{darkroom.http.base_url}/v1", api_key="none") as client:
        asked = {"model": "gpt-image-1", "prompt": "a cat", "output_format": "png"}
        made = client.images.edit(image=files[0].getvalue(), mask=files[1].getvalue(), **asked)
    after = Image.open(io.BytesIO(base64.b64decode(made.data[0].b64_json)))
    changed = ImageChops.difference(before, after).getbbox()
    assert changed is not None
    assert changed[:2] == (0, 0)
    assert changed[2] <= 24
    assert changed[3] <= 20
