"""Submitting, reading, waiting for, listing, canceling, deleting jobs, over HTTP."""

import base64
import os
import signal
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_to_bytes

import httpx2
import pytest
from PIL import Image

from darkroom.job import JobError, JobStatus, Progress
from darkroom.queue.connection import connect
from darkroom.queue.queue import News
from tests.picture_files import encoded
from tests.service.conftest import picture, png
from tests.stored import file_of
from tests.waiting import until

JOBS = "/api/v1/jobs"
UNKNOWN = "job_" + "0" * 32


def problem(response: httpx2.Response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def pointers(response: httpx2.Response) -> list[str]:
    return [error["pointer"] for error in problem(response, 422, "invalid_parameters")["errors"]]


# What a job is on acceptance


def test_a_prompt_is_answered_with_a_queued_job(api):
    response = api.post(JOBS, json={"prompt": "a cat", "seed": 7, "tags": ["x"]})
    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"{JOBS}/{job['id']}" == job["urls"]["self"]
    assert int(response.headers["retry-after"]) >= 1
    assert (job["object"], job["status"], job["images"]) == ("job", "queued", [])
    assert job["queue"]["name"] == "pix.normal"
    assert job["tags"] == ["x"]
    assert job["request"] == {
        "task": "text-to-image",
        "model": "pix",
        "prompt": "a cat",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "num_inference_steps": 25,
        "guidance_scale": 7.5,
        "scheduler": "DDIMScheduler",
        "scheduler_options": {
            "sigmas": None,
            "timestep_spacing": None,
            "eta": None,
            "original_inference_steps": None,
        },
        "seed": 7,
        "num_images": 1,
        "output": {"format": "png", "quality": 90, "metadata": "full"},
        "deterministic": False,
        "guidance_rescale": 0.0,
        "clip_skip": 0,
        "hires": None,
    }


@pytest.mark.parametrize("name", ["other", "", " ", "../../etc", "Latent"])
def test_a_picture_is_enlarged_by_none_but_a_model_for_that(name, api):
    response = api.post(JOBS, json={"prompt": "a cat", "hires": {"upscaler": name}})
    (error,) = problem(response, 422, "invalid_parameters")["errors"]
    assert error["pointer"] == "/hires/upscaler"
    assert error["detail"].startswith("No model of this name does upscale. Must be one of: latent,")


def test_the_seed_is_drawn_at_submission(submitted, api):
    job = submitted()
    assert isinstance(job["request"]["seed"], int)
    again = api.post(JOBS, json=job["request"]).json()
    assert again["request"] == job["request"]


def test_priority_metadata_and_aliases_are_taken(submitted):
    job = submitted(model="demo", priority="high", metadata={"k": "v"})
    assert (job["queue"]["name"], job["request"]["model"]) == ("pix.high", "pix")
    assert (job["priority"], job["metadata"]) == ("high", {"k": "v"})


def test_a_model_without_workers_is_accepted_with_a_warning(submitted, api):
    warnings = submitted()["warnings"]
    assert warnings == ["No worker serves the model 'pix' now; the job waits until one does."]
    assert api.get("/readyz").status_code == 200


def test_a_model_with_a_worker_gives_no_warning(submitted, announced):
    announced(serves=("pix",))
    assert submitted()["warnings"] == []
    assert submitted(model="other")["warnings"]


def test_strong_guidance_is_accepted_with_a_warning(submitted, announced):
    announced(serves=("pix",))
    (warning,) = submitted(guidance_scale=16)["warnings"]
    assert "saturated" in warning


# What bad input gets


@pytest.mark.parametrize("prompt", ["x" * 10_000, "nul\0", "\x1b[2J", 5, None, ["a"]])
def test_c8_prompts_that_cannot_be(api, prompt):
    assert pointers(api.post(JOBS, json={"prompt": prompt})) == ["/prompt"]


@pytest.mark.parametrize(
    "steps",
    ["0", "-1", "1000000000", "2.5", '"20"', "NaN", "Infinity", "-Infinity", "true", "1e999"],
)
def test_c1_c3_step_counts_that_cannot_be(api, steps):
    raw = f'{{"prompt": "a cat", "num_inference_steps": {steps}}}'
    response = api.post(JOBS, content=raw, headers={"Content-Type": "application/json"})
    assert pointers(response) == ["/num_inference_steps"]


def test_c1_guidance_that_is_no_number(api):
    for guidance in ("NaN", "Infinity", "-Infinity", "1e999"):
        raw = f'{{"prompt": "a cat", "guidance_scale": {guidance}}}'
        response = api.post(JOBS, content=raw, headers={"Content-Type": "application/json"})
        assert pointers(response) == ["/guidance_scale"], guidance


@pytest.mark.parametrize("seed", ["-2", "9007199254740992", "1" + "0" * 5000, "1e308"])
def test_c4_seeds_that_cannot_be(api, seed):
    raw = f'{{"prompt": "a cat", "seed": {seed}}}'
    response = api.post(JOBS, content=raw, headers={"Content-Type": "application/json"})
    assert pointers(response) == ["/seed" if len(seed) < 100 else ""]


@pytest.mark.parametrize("size", ["0", "7", "8193", "100", "NaN", '"64"', "64.5", "-64"])
def test_sizes_that_cannot_be(api, size):
    raw = f'{{"prompt": "a cat", "width": {size}}}'
    response = api.post(JOBS, content=raw, headers={"Content-Type": "application/json"})
    assert pointers(response) == ["/width"]


def test_several_wrong_fields_are_named_at_once(api):
    response = api.post(JOBS, json={"prompt": 5, "seed": -2, "steps": 20, "tags": "s3cret"})
    assert sorted(pointers(response)) == ["/prompt", "/seed", "/steps", "/tags"]
    assert "s3cret" not in response.text


def test_an_unknown_scheduler_lists_the_valid_ones(api):
    response = api.post(JOBS, json={"prompt": "a cat", "scheduler": "Eule"})
    (error,) = problem(response, 422, "invalid_parameters")["errors"]
    assert error["pointer"] == "/scheduler"
    assert "Did you mean Euler? It has: DDIM, Euler." in error["detail"]


def test_an_unknown_model_gets_near_matches(api):
    document = problem(
        api.post(JOBS, json={"prompt": "a cat", "model": "pics"}), 404, "model_not_found"
    )
    assert document["near"] == ["pix"]
    assert document["detail"] == "No model is called 'pics'. Did you mean pix?"


@pytest.mark.parametrize("model", [5, ["pix"], "x" * 201, "x" * 200_000])
def test_models_that_cannot_be(api, model):
    assert pointers(api.post(JOBS, json={"prompt": "a cat", "model": model})) == ["/model"]


def test_a_task_the_model_cannot_do(api):
    response = api.post(JOBS, json={"prompt": "a cat", "task": "inpaint"})
    assert pointers(response) == ["/task"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{bad",
        b"[]",
        b'{"prompt": "\xff\xfe"}',
        '{"prompt": "a cat"}'.encode("utf-16"),
    ],
)
def test_c7_bodies_that_are_no_json_object(api, raw):
    for headers in ({"Content-Type": "application/json"}, {}):
        problem(api.post(JOBS, content=raw, headers=headers), 400, "malformed_request")


def test_c10_forms_and_foreign_pages_are_refused(api):
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        response = api.post(JOBS, content=b'{"prompt": "x"}', headers={"Content-Type": kind})
        problem(response, 415, "unsupported_media_type")
    response = api.post(JOBS, content=b'{"prompt": "x"}', headers={"Origin": "https://evil.test"})
    problem(response, 403, "cross_site")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-16", 415),
        ('application/json;charset="latin-1"', 415),
        ("application/json; a=b; CharSet = ISO-8859-1", 415),
        ("application/json, text/plain", 415),
        ("application/json; charset=utf-8, text/plain", 415),
        ('application/json; charset="UTF-8"', 202),
        ("application/json;charset=utf8;", 202),
        ("application/vnd.x+json; charset=us-ascii", 202),
    ],
)
def test_c7_json_is_taken_in_utf_8_alone(api, kind, status):
    sent = api.post(JOBS, content=b'{"prompt": "x"}', headers={"Content-Type": kind})
    assert sent.status_code == status, sent.text


def test_nothing_refused_is_queued(api, jobs):
    api.post(JOBS, json={"prompt": 5})
    api.post(JOBS, content=b"{bad")
    assert jobs.page().jobs == []


def test_a_full_queue_is_said_so(serving, valkey, redis, tmp_path, here):  # noqa: ARG001
    small = serving(redis_url=valkey.url, state_dir=tmp_path, max_queued=1)
    url = small.url + JOBS
    assert httpx2.post(url, json={"prompt": "a cat"}).status_code == 202
    response = httpx2.post(url, json={"prompt": "a cat"})
    problem(response, 429, "queue_full")
    assert int(response.headers["retry-after"]) >= 1


def test_a_full_redis_refuses_new_jobs_and_keeps_the_old(api, submitted, redis):
    job = submitted()
    redis.config_set("maxmemory", 1)
    try:
        problem(api.post(JOBS, json={"prompt": "a cat"}), 503, "queue_unavailable")
        problem(api.get("/readyz"), 503, "queue_unavailable")
        assert api.get(job["urls"]["self"]).json()["status"] == "queued"
    finally:
        redis.config_set("maxmemory", 0)
    submitted()


def test_a_store_that_cannot_be_written_refuses_pictures(serving, valkey, tmp_path, here):  # noqa: ARG001
    (tmp_path / "file").touch()
    broken = serving(redis_url=valkey.url, store=tmp_path / "file")
    image = base64.b64encode(png()).decode()
    response = httpx2.post(broken.url + JOBS, json={"prompt": "a cat", "image": image})
    problem(response, 503, "store_unavailable")
    assert str(tmp_path) not in response.text


# Pictures in requests


def test_an_image_is_stored_under_its_hash_and_sets_the_shape(submitted, here):
    job = submitted(image=base64.b64encode(png((40, 20))).decode(), strength=0.5)
    request = job["request"]
    assert request["task"] == "image-to-image"
    assert (request["width"], request["height"]) == (88, 64)
    with here.store.open_input(request["image"]) as file, Image.open(file) as stored:
        assert stored.size == (40, 20)


def test_an_image_sent_before_is_named_by_its_hash(submitted, api):
    data = "data:image/png;base64," + base64.b64encode(png()).decode()
    first = submitted(image=data)["request"]["image"]
    assert first.startswith("file_")
    assert submitted(image=first)["request"]["image"] == first
    response = api.post(JOBS, json={"prompt": "a cat", "image": "file_" + "0" * 64})
    assert pointers(response) == ["/image"]


def test_a_stored_image_that_rotted_is_our_fault(submitted, api, here):
    image = submitted(image=base64.b64encode(png((5, 5))).decode())["request"]["image"]
    file_of(here.store, image).write_bytes(b"rotten")
    response = api.post(JOBS, json={"prompt": "a cat", "image": image})
    problem(response, 503, "store_unavailable")


@pytest.mark.parametrize(
    "image",
    [
        "",
        "file_../../etc/passwd",
        "https://example.org/cat.png",
        "!!!",
        base64.b64encode(b"no picture").decode(),
        base64.b64encode(png((64, 64))[:60]).decode(),
        base64.b64encode(png((64, 64))[:30] + b"damage" + png((64, 64))[36:]).decode(),
        5,
    ],
)
def test_damaged_and_foreign_images_are_refused_at_their_field(api, image):
    assert pointers(api.post(JOBS, json={"prompt": "a cat", "image": image})) == ["/image"]


def test_an_image_of_many_pixels_is_shrunk_and_one_of_too_many_refused(api, submitted, here):
    large = submitted(image=base64.b64encode(encoded(Image.new("1", (5000, 4000)))).decode())[
        "request"
    ]["image"]
    with here.store.open_input(large) as file, Image.open(file) as stored:
        assert stored.size == (4472, 3577)
    bomb = base64.b64encode(encoded(Image.new("1", (10_001, 10_000)))).decode()
    assert pointers(api.post(JOBS, json={"prompt": "a cat", "image": bomb})) == ["/image"]


def test_the_picture_of_a_job_can_be_the_input_of_the_next(api, submitted, work, here):
    submitted(output={"format": "webp"})
    [made] = work.all().images
    for name in (made.id, made.url):
        taken = submitted(image=name)["request"]["image"]
        with here.store.open_input(taken) as file, Image.open(file) as stored:
            assert stored.size == (8, 8)
    response = api.post(JOBS, json={"prompt": "a cat", "image": "img_" + "0" * 32})
    assert pointers(response) == ["/image"]


def test_a_refused_job_leaves_no_pictures(serving, valkey, redis, tmp_path, here):  # noqa: ARG001
    small = serving(redis_url=valkey.url, state_dir=tmp_path, max_queued=1)
    body = {"prompt": "a cat", "image": base64.b64encode(png((6, 6))).decode()}
    assert httpx2.post(small.url + JOBS, json=body).status_code == 202
    more = body | {"image": base64.b64encode(png((7, 7))).decode()}
    for each in (body, more, body | {"image": "no picture, which nobody looks at"}):
        problem(httpx2.post(small.url + JOBS, json=each), 429, "queue_full")
    assert len(list(small.here.store.input_ids(-10))) == 1


def test_who_leaves_while_a_picture_is_decoded_frees_its_decoder(serving, valkey, tmp_path, here):  # noqa: ARG001
    one = serving(redis_url=valkey.url, state_dir=tmp_path, decoders=1)
    body = {"prompt": "a cat", "image": base64.b64encode(png((6, 6))).decode()}
    assert httpx2.post(one.url + JOBS, json=body).status_code == 202
    [child] = one.here.inputs.decoders._idle
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(one.url + JOBS, json=body, timeout=httpx2.Timeout(20, read=0.5))
    assert httpx2.post(one.url + JOBS, json=body, timeout=20).status_code == 202
    assert child.returncode is not None


def test_all_that_needs_no_picture_answers_while_decoders_are_busy(serving, valkey, tmp_path, here):  # noqa: ARG001
    one = serving(redis_url=valkey.url, state_dir=tmp_path, decoders=1)
    body = {"prompt": "a cat", "image": base64.b64encode(png((6, 6))).decode()}
    assert httpx2.post(one.url + JOBS, json=body).status_code == 202
    [child] = one.here.inputs.decoders._idle
    os.kill(child.pid, signal.SIGSTOP)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(httpx2.post(one.url + JOBS, json=body)))
        for _ in range(45)  # more than there are threads in the service
    ]
    for thread in threads:
        thread.start()
    until(lambda: not one.here.inputs.decoders._idle)
    for path in ("/readyz", "/livez", "/api/v1/models", JOBS):
        assert httpx2.get(one.url + path, timeout=20).status_code == 200
    assert httpx2.post(one.url + JOBS, json={"prompt": "a cat"}, timeout=20).status_code == 202
    assert answers == []
    os.kill(child.pid, signal.SIGCONT)
    for thread in threads:
        thread.join(20)
    assert {answer.status_code for answer in answers} == {202}


# Sending again


def test_the_same_key_gives_the_same_job(api):
    headers = {"Idempotency-Key": "k1"}
    first = api.post(JOBS, content=b'{"prompt": "a", "seed": 1}', headers=headers)
    again = api.post(JOBS, content=b'{"seed":1,"prompt":"a"}', headers=headers)
    other = api.post(JOBS, json={"prompt": "a", "seed": 1})
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"] != other.json()["id"]


def test_a_key_gives_its_job_again_though_the_picture_it_began_with_is_gone(api, submitted, work):
    submitted()
    [made] = work.all().images
    body, headers = {"prompt": "a", "image": made.id}, {"Idempotency-Key": "k9"}
    first = api.post(JOBS, json=body, headers=headers)
    work.store.delete([made.id])
    again = api.post(JOBS, json=body, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert pointers(api.post(JOBS, json=body)) == ["/image"]


def test_a_key_with_a_drawn_seed_gives_the_same_job(api):
    seeds = {
        api.post(JOBS, json={"prompt": "a"}, headers={"Idempotency-Key": "k2"}).json()["request"][
            "seed"
        ]
        for _ in range(3)
    }
    assert len(seeds) == 1


def test_the_same_key_with_another_body_is_refused(api):
    headers = {"Idempotency-Key": "k3"}
    api.post(JOBS, json={"prompt": "a"}, headers=headers)
    response = api.post(JOBS, json={"prompt": "b"}, headers=headers)
    problem(response, 422, "idempotency_mismatch")


@pytest.mark.parametrize("key", ["", "a b", "x" * 10_000, "\x7f"])
def test_b8_keys_that_cannot_be(api, key):
    response = api.post(JOBS, json={"prompt": "a"}, headers={"Idempotency-Key": key})
    assert pointers(response) == ["/header/idempotency-key"]


# Waiting


def test_a_wait_that_is_long_enough_gives_the_finished_job(api, work, background):
    background(work.all)
    response = api.post(JOBS, json={"prompt": "a"}, headers={"Prefer": "wait=20"})
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait=20"
    assert response.json()["status"] == "succeeded"
    assert "retry-after" not in response.headers


def test_a_wait_that_is_too_short_gives_the_accepted_job(api):
    response = api.post(JOBS, json={"prompt": "a"}, headers={"Prefer": "wait=0"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=0"
    assert response.json()["status"] == "queued"


def test_the_picture_itself_is_sent_to_who_wants_it(api, work, background):
    background(work.all)
    headers = {"Prefer": "wait=20", "Accept": "image/png"}
    response = api.post(JOBS, json={"prompt": "a"}, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert response.content == png(color=(0, 9, 9))
    job = api.get(response.headers["location"]).json()
    assert response.headers["content-location"] == job["images"][0]["url"]


@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
@pytest.mark.parametrize(
    "accept", ["image/{}", "image/*", "image/{};q=0.9, application/json;q=0.1"]
)
def test_the_picture_is_of_the_format_that_was_asked_for(
    api, work, background, image_format, accept
):
    background(work.all)
    headers = {"Prefer": "wait=20", "Accept": accept.format(image_format)}
    body = {"prompt": "a", "output": {"format": image_format}}
    response = api.post(JOBS, json=body, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (
        200,
        f"image/{image_format}",
    )
    assert response.content == picture(image_format, color=(0, 9, 9))


@pytest.mark.parametrize("accept", ["image/webp", "image/jpeg, image/webp;q=0.5"])
def test_a_picture_of_a_format_that_nobody_wants_is_not_made(api, jobs, accept):
    headers = {"Prefer": "wait=20", "Accept": accept}
    refused = api.post(JOBS, json={"prompt": "a"}, headers=headers)
    assert "output.format" in problem(refused, 406, "not_acceptable")["detail"]
    assert jobs.page().jobs == []


def test_a_job_is_sent_where_its_picture_is_not_acceptable_but_json_is(api, work, background):
    background(work.all)
    headers = {"Prefer": "wait=20", "Accept": "image/webp, application/json;q=0.1"}
    response = api.post(JOBS, json={"prompt": "a"}, headers=headers)
    assert response.json()["images"][0]["format"] == "png"


def test_a_withheld_picture_is_passed_over(api, work, background):
    def withhold_the_first() -> None:
        claim = work.claim()
        first, second = work.images(claim)
        hidden = {"url": None, "bytes": None, "sha256": None, "flagged": True}
        images = [first.model_copy(update=hidden), second]
        work.queue.finish(claim, JobStatus.SUCCEEDED, images=images)

    background(withhold_the_first)
    headers = {"Prefer": "wait=20", "Accept": "image/png"}
    response = api.post(JOBS, json={"prompt": "a", "num_images": 2}, headers=headers)
    assert response.content == png(color=(1, 9, 9))


def named(response: httpx2.Response, document: dict) -> str:
    """The job that a problem document is about; it can be found by body and by head."""
    assert response.headers["location"] == document["urls"]["self"]
    assert document["urls"]["self"].endswith(document["job"])
    return document["urls"]["self"]


@pytest.mark.parametrize("prefer", ["wait=0", "wait=1", "respond-async"])
@pytest.mark.parametrize("accept", ["image/png", "image/*", "image/png, text/plain;q=0.1"])
def test_a_picture_not_done_in_time_is_a_problem_that_names_the_job(api, accept, prefer):
    headers = {"Accept": accept, "Prefer": prefer}
    response = api.post(JOBS, json={"prompt": "a"}, headers=headers)
    url = named(response, problem(response, 406, "picture_not_ready"))
    assert api.get(url).json()["status"] == "queued"
    assert "retry-after" not in response.headers
    assert response.headers["vary"] == "Accept, Prefer"


def test_a_picture_not_done_in_time_is_a_job_where_json_would_do(api):
    headers = {"Accept": "image/png, */*;q=0.1", "Prefer": "wait=0"}
    response = api.post(JOBS, json={"prompt": "a"}, headers=headers)
    assert (response.status_code, response.json()["status"]) == (202, "queued")


def test_who_wants_a_picture_waits_for_it_unasked(api, work, background):
    background(work.all)
    response = api.post(JOBS, json={"prompt": "a"}, headers={"Accept": "image/png"})
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert "preference-applied" not in response.headers


def test_who_does_not_wait_may_come_back_for_the_picture(api, work, background):
    only_pictures = {"Accept": "image/png"}
    late = api.post(JOBS, json={"prompt": "a"}, headers=only_pictures | {"Prefer": "wait=0"})
    url = late.headers["location"]
    problem(api.get(url, headers=only_pictures), 406, "picture_not_ready")
    problem(api.get(url, headers={"Accept": "image/webp"}), 406, "not_acceptable")
    background(work.all)
    response = api.get(url, params={"wait": 20}, headers=only_pictures)
    assert (response.status_code, response.content) == (200, png(color=(0, 9, 9)))
    assert response.headers["cache-control"] == "private, no-cache"
    known = api.get(url, headers=only_pictures | {"If-None-Match": response.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert api.head(url, headers=only_pictures).headers["content-type"] == "image/png"
    assert api.get(url).json()["status"] == "succeeded"


def test_an_answer_that_was_waited_for_is_dated_when_it_is_sent(api, work, background):
    def late() -> None:
        time.sleep(1.1)  # dates have no fractions
        work.all()

    background(late)
    headers = api.post(JOBS, json={"prompt": "a"}, headers={"Accept": "image/png"}).headers
    assert len(headers.get_list("date")) == 1
    date, modified = (parsedate_to_datetime(headers[name]) for name in ("date", "last-modified"))
    assert modified <= date


def test_several_pictures_are_named_where_the_first_is_sent(api, work, background):
    background(work.all)
    body = {"prompt": "a", "num_images": 3}
    response = api.post(JOBS, json=body, headers={"Accept": "image/png"})
    urls = [image["url"] for image in api.get(response.headers["location"]).json()["images"]]
    assert response.headers["link"] == ", ".join(f'<{url}>; rel="item"' for url in urls)
    assert response.headers["content-location"] == urls[0]


def test_a_picture_that_was_lost_is_a_problem_that_names_the_job(api, work, background, here):
    def lose() -> None:
        claim = work.claim()
        images = work.images(claim)
        file_of(here.store, images[0].id).unlink()
        work.queue.finish(claim, JobStatus.SUCCEEDED, images=images)

    background(lose)
    response = api.post(JOBS, json={"prompt": "a"}, headers={"Accept": "image/png"})
    named(response, problem(response, 404, "image_not_found"))


def test_a_canceled_picture_is_a_problem_that_names_the_job(api, jobs, background):
    background(lambda: jobs.cancel(jobs.page().jobs[0].id))
    response = api.post(JOBS, json={"prompt": "a"}, headers={"Accept": "image/png"})
    named(response, problem(response, 409, "canceled"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (JobError(code="out_of_memory", message="Too large.", retryable=True), 503),
        (JobError(code="out_of_memory", message="Never fits.", retryable=False), 502),
        (JobError(code="unsupported", message="No such thing."), 422),
        (JobError(code="invalid_output", message="NaN."), 502),
    ],
)
def test_a_failed_picture_is_a_problem(api, work, background, error, status):
    background(lambda: work.finish(work.claim(), JobStatus.FAILED, error=error))
    headers = {"Prefer": "wait=20", "Accept": "image/png"}
    response = api.post(JOBS, json={"prompt": "a"}, headers=headers)
    document = problem(response, status, error.code)
    assert document["detail"] == error.message
    assert document["retryable"] is error.retryable is ("retry-after" in response.headers)
    named(response, document)
    assert api.get(response.headers["location"]).json()["status"] == "failed"


# Reading


def test_a_finished_job_has_its_images(api, submitted, work):
    job = submitted(num_images=2, seed=5)
    work.all()
    response = api.get(job["urls"]["self"])
    done = response.json()
    assert response.status_code == 200
    assert "retry-after" not in response.headers
    assert done["status"] == "succeeded"
    assert [image["seed"] for image in done["images"]] == [5, 6]
    assert done["request"] == job["request"]
    for image in done["images"]:
        assert api.get(image["url"]).headers["content-type"] == "image/png"


def test_g6_an_unchanged_job_is_not_sent_again(api, submitted, work):
    url = submitted()["urls"]["self"]
    first = api.get(url)
    assert first.headers["cache-control"] == "private, no-cache"
    assert int(first.headers["retry-after"]) >= 1
    same = api.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == first.headers["etag"]
    work.all()
    changed = api.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.fixture
def serving_pix(announced, here):
    """A worker that has the model `pix` and room for one job; what was seen before is forgotten."""
    here.outlook.outdate()
    yield announced(serves=("pix",), models=("pix",), max_jobs=1)
    here.outlook.outdate()


@pytest.mark.usefixtures("serving_pix")
def test_jobs_that_wait_tell_everywhere_when_they_will_be_done(api, submitted, here):
    first = submitted()
    assert first["queue"]["eta_s"] == pytest.approx(first["queue"]["work_s"], abs=0.01)
    here.outlook.outdate()
    second = submitted()
    assert second["queue"]["eta_s"] == pytest.approx(2 * first["queue"]["work_s"], abs=0.02)
    read = api.get(second["urls"]["self"]).json()["queue"]
    listed = api.get("/api/v1/jobs").json()["data"][0]["queue"]
    waited = api.get(second["urls"]["self"], params={"wait": 0.01}).json()["queue"]
    assert read == listed == waited == second["queue"]


@pytest.mark.usefixtures("serving_pix")
def test_nobody_can_tell_when_a_job_will_be_done_that_nobody_serves(submitted):
    assert submitted(model="other")["queue"]["eta_s"] is None


@pytest.mark.usefixtures("serving_pix")
def test_an_estimate_that_changes_makes_no_other_state(api, submitted, here, announced):
    job = submitted()
    etag = api.get(job["urls"]["self"]).headers["etag"]
    announced(name="another", serves=("pix",), models=("other",), speed=3.0)
    submitted(priority="high")
    here.outlook.outdate()
    later = api.get(job["urls"]["self"])
    assert later.json()["queue"]["eta_s"] != job["queue"]["eta_s"]
    assert later.headers["etag"] == etag
    assert api.get(job["urls"]["self"], headers={"If-None-Match": etag}).status_code == 304
    canceled = api.post(job["urls"]["cancel"], headers={"If-Match": etag})
    assert canceled.json()["status"] == "canceled"


@pytest.mark.usefixtures("serving_pix")
def test_however_many_jobs_are_read_the_queue_is_looked_at_once(api, submitted, here, valkey):
    jobs = [submitted() for _ in range(10)]
    look = here.client._scripts["outlook"].sha
    looks = 0
    with connect(valkey.url) as watcher, watcher.monitor() as monitor:
        began = time.monotonic()
        for _ in range(5):
            assert len(api.get("/api/v1/jobs").json()["data"]) == len(jobs)
            for job in jobs:
                api.get(job["urls"]["self"])
        seconds = time.monotonic() - began
        with connect(valkey.url) as marker:
            marker.set("that was all", 1)
        while "that was all" not in (said := monitor.next_command()["command"]):
            looks += look in said
    assert looks <= 1 + seconds


def test_waiting_for_a_change_ends_with_the_change(api, submitted, work, background):
    job = submitted()
    etag = api.get(job["urls"]["self"]).headers["etag"]
    claims = []
    background(lambda: claims.append(work.claim()))
    headers = {"If-None-Match": etag}
    response = api.get(job["urls"]["self"], params={"wait": 20}, headers=headers)
    assert response.json()["status"] == "running"
    progress = Progress(stage="denoise", step=3, steps=25, ratio=0.12)
    background(lambda: work.queue.tell([News(claims[0], progress)]))
    headers = {"If-None-Match": response.headers["etag"]}
    response = api.get(job["urls"]["self"], params={"wait": 20}, headers=headers)
    assert response.json()["progress"]["step"] == 3


def test_waiting_without_an_etag_ends_with_the_job(api, submitted, work, background):
    url = submitted()["urls"]["self"]
    claim = work.claim()

    def go_on() -> None:
        work.queue.tell([News(claim, Progress(stage="denoise", step=1, steps=2))])
        work.finish(claim)

    background(go_on)
    assert api.get(url, params={"wait": 20}).json()["status"] == "succeeded"


def test_waiting_in_vain_ends_in_time(api, submitted):
    url = submitted()["urls"]["self"]
    etag = api.get(url).headers["etag"]
    started = time.monotonic()
    response = api.get(url, params={"wait": 0.3}, headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert 0.25 < time.monotonic() - started < 5


@pytest.mark.parametrize("wait", ["60", "61", "99999", "1e300"])
def test_longer_waits_than_may_be_are_cut(api, submitted, work, wait):
    url = submitted()["urls"]["self"]
    work.all()
    assert api.get(url, params={"wait": wait}).json()["status"] == "succeeded"
    preferred = api.get(url, headers={"Prefer": f"wait={wait}"})
    assert preferred.headers.get("preference-applied") in ("wait=60", None)
    assert ("preference-applied" in preferred.headers) is wait.isdigit()


def test_more_waiters_than_threads_hold_nothing_up(api, served, submitted, work):
    url = submitted()["urls"]["self"]
    etag = api.get(url).headers["etag"]
    answers = []
    client = httpx2.Client(limits=httpx2.Limits(max_connections=None), timeout=40)

    def wait() -> None:
        headers, params = {"If-None-Match": etag}, {"wait": 30}
        answers.append(client.get(served.url + url, params=params, headers=headers))

    waiters = [threading.Thread(target=wait, daemon=True) for _ in range(60)]
    for waiter in waiters:
        waiter.start()
    while served.here.feed.waiters < 60:
        assert api.get(url).status_code == 200
    work.all()
    for waiter in waiters:
        waiter.join(20)
    client.close()
    assert {answer.json()["status"] for answer in answers} <= {"running", "succeeded"}
    assert len(answers) == 60


@pytest.mark.parametrize("wait", ["-1", "abc", "NaN", "inf", "1e999"])
def test_waits_that_cannot_be(api, submitted, wait):
    response = api.get(submitted()["urls"]["self"], params={"wait": wait})
    assert pointers(response) == ["/query/wait"]


@pytest.mark.parametrize(
    "job_id",
    [
        "x",
        UNKNOWN,
        "job_" + "0" * 31,
        "JOB_" + "0" * 32,
        "job_" + "٠" * 32,
        "a" * 300,
        "%00",
        "..%2f..%2fetc",
        "%2e%2e%2f",
        "job_" + "0" * 32 + "%0a",
        "%f0%9f%8c%9a",
        "*",
        "%ff",
    ],
)
def test_a5_unknown_and_malformed_ids(api, submitted, redis, job_id):
    if job_id != UNKNOWN:  # not even what Redis has by such a name is a job
        redis.copy(f"rq:job:{submitted()['id']}", b"rq:job:" + unquote_to_bytes(job_id))
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/events")):
        response = api.request(method, f"{JOBS}/{job_id}{path}")
        assert response.status_code in (404, 405)
        assert response.headers["content-type"] == "application/problem+json"
    if "%2f" not in job_id:
        problem(api.get(f"{JOBS}/{job_id}"), 404, "job_not_found")


def test_a_job_whose_retention_has_passed_is_gone(api, submitted, work, redis):
    job = submitted()
    work.all()
    redis.hset(f"rq:job:{job['id']}", "dr_expires", 1)
    problem(api.get(job["urls"]["self"]), 410, "expired")
    problem(api.post(job["urls"]["cancel"]), 410, "expired")
    assert api.get(JOBS).json()["data"] == []


# Listing


def test_jobs_are_listed_newest_first_in_pages(api, submitted):
    ids = [submitted()["id"] for _ in range(5)][::-1]
    url, seen = f"{JOBS}?limit=2&model=demo", []
    while url:
        response = api.get(url)
        page = response.json()
        seen += [job["id"] for job in page["data"]]
        assert len(page["data"]) <= 2
        assert page["has_more"] is (page["next_cursor"] is not None)
        url = response.links.get("next", {}).get("url")
        assert bool(url) is page["has_more"]
    assert seen == ids


def test_the_last_page_leads_nowhere(api, submitted):
    submitted(tags=["red"])
    submitted()
    for query in ("tag=red&limit=1", "limit=2", "limit=1&status=queued&tag=red"):
        response = api.get(f"{JOBS}?{query}")
        assert (response.json()["has_more"], response.links) == (False, {}), query


def test_jobs_are_found_by_status_model_and_tag(api, submitted, work):
    first, other, tagged = submitted(), submitted(model="other"), submitted(tags=["red", "x&y"])
    work.all()

    def ids(**params: str) -> list[str]:
        return [job["id"] for job in api.get(JOBS, params=params).json()["data"]]

    assert ids(status="succeeded") == [first["id"]]
    assert ids(model="other") == [other["id"]]
    assert ids(tag="x&y") == [tagged["id"]]
    assert ids(status="queued", model="demo") == [tagged["id"]]


def test_a_model_that_nobody_knows_is_told_and_one_that_had_jobs_is_not(api, jobs):
    unknown = problem(api.get(JOBS, params={"model": "othr"}), 404, "model_not_found")
    assert "other" in unknown["near"]
    assert api.get(JOBS, params={"model": "other"}).json()["data"] == []
    jobs.submit({"task": "text-to-image"}, model="withdrawn")
    for status, count in (("queued", 1), ("failed", 0)):
        response = api.get(JOBS, params={"model": "withdrawn", "status": status})
        assert (response.status_code, len(response.json()["data"])) == (200, count)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("model", ""),
        ("tag", ""),
        ("limit", "x"),
        ("status", "done"),
        ("cursor", "../x"),
        ("cursor", "9" * 400),
        ("tag", "x" * 65),
    ],
)
def test_filters_that_cannot_be(api, name, value):
    response = api.get(JOBS, params={name: value})
    assert pointers(response) == [f"/query/{name}"]


# Ending


def test_a_queued_job_is_canceled_at_once(api, submitted):
    url = submitted()["urls"]["cancel"]
    response = api.post(url)
    assert (response.status_code, response.json()["status"]) == (202, "canceled")
    again = api.post(url)
    assert (again.status_code, again.json()["status"]) == (200, "canceled")


def test_a_running_job_is_canceled_and_its_result_refused(api, submitted, work):
    job = submitted()
    claim = work.claim()
    assert api.post(job["urls"]["cancel"]).json()["status"] == "canceled"
    assert work.queue.finish(claim, JobStatus.SUCCEEDED) == "fenced"
    assert api.get(job["urls"]["self"]).json()["status"] == "canceled"


def test_a_finished_job_stays_as_it_is(api, submitted, work):
    job = submitted()
    work.all()
    response = api.post(job["urls"]["cancel"])
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")


def test_deleting_a_job_deletes_its_images(api, submitted, work):
    job = submitted()
    work.all()
    (image,) = api.get(job["urls"]["self"]).json()["images"]
    assert api.get(image["url"]).status_code == 200
    response = api.delete(job["urls"]["self"])
    assert (response.status_code, response.content) == (204, b"")
    problem(api.get(image["url"]), 404, "image_not_found")
    problem(api.get(job["urls"]["self"]), 404, "job_not_found")
    problem(api.delete(job["urls"]["self"]), 404, "job_not_found")


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_a_job_in_another_state_than_is_said_stays_as_it_is(api, submitted, work, method):
    job = submitted()
    url = job["urls"]["self"] if method == "DELETE" else job["urls"]["cancel"]
    seen = api.get(job["urls"]["self"]).headers["etag"]
    work.claim()
    refused = api.request(method, url, headers={"If-Match": seen})
    problem(refused, 412, "precondition_failed")
    now = api.get(job["urls"]["self"])
    assert now.json()["status"] == "running"
    assert api.request(method, url, headers={"If-Match": now.headers["etag"]}).status_code < 300


def test_deleting_a_queued_job_cancels_it(api, submitted, jobs):
    job = submitted()
    assert api.delete(job["urls"]["self"]).status_code == 204
    assert jobs.queues()[0].queued == 0


# Marking


def test_tags_and_stars_change_in_any_status_and_no_more_does(api, submitted, work):
    job = submitted(tags=["a"])
    url = job["urls"]["self"]
    starred = api.patch(url, json={"starred": True}).json()
    assert starred == job | {"starred": True}
    work.all()
    done = api.get(url)
    merge = {"Content-Type": "application/merge-patch+json", "If-Match": done.headers["etag"]}
    tagged = api.patch(url, content=b'{"tags": ["b", "c"]}', headers=merge)
    assert tagged.json() == done.json() | {"tags": ["b", "c"], "starred": True}
    assert tagged.headers["etag"] == api.get(url).headers["etag"] != done.headers["etag"]
    problem(api.patch(url, json={}, headers={"If-Match": '"other"'}), 412, "precondition_failed")
    assert api.patch(url, json={"starred": None}).json() == tagged.json()

    def ids(**params: str) -> list[str]:
        return [each["id"] for each in api.get(JOBS, params=params).json()["data"]]

    other = submitted(prompt="a Dog")["id"]
    assert (ids(starred="true"), ids(starred="false")) == ([job["id"]], [other])
    assert (ids(tag="a"), ids(tag="c"), ids(q="DOG")) == ([], [job["id"]], [other])


def test_marks_are_not_written_over_those_that_came_meanwhile(api, submitted):
    job = submitted(tags=["a"])
    url = job["urls"]["self"]
    json = {"Content-Type": "application/json"}
    seen = {"If-Match": api.get(url).headers["etag"]}

    def slowly() -> Iterator[bytes]:
        yield b"{"
        assert api.patch(url, json={"tags": ["b"]}, headers=seen).status_code == 200
        yield b'"tags": ["c"]}'

    late = api.patch(url, content=slowly(), headers=json | seen)
    problem(late, 412, "precondition_failed")
    assert api.get(url).json()["tags"] == ["b"]
    assert api.patch(url, json={"starred": True}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_a_header_that_names_no_state_matches_none(api, submitted, method):
    job = submitted()
    refused = api.request(method, job["urls"]["self"], headers={"If-Match": ""})
    problem(refused, 412, "precondition_failed")
    assert api.get(job["urls"]["self"]).json() == job


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"tags": ["x"] * 17}, "/tags"),
        ({"tags": ["\n"]}, "/tags/0"),
        ({"starred": 1}, "/starred"),
        ({"prompt": "a dog"}, "/prompt"),
    ],
)
def test_marks_that_cannot_be(api, submitted, body, pointer):
    job = submitted()
    assert pointers(api.patch(job["urls"]["self"], json=body)) == [pointer]
    assert api.get(job["urls"]["self"]).json() == job
    problem(api.patch(f"{JOBS}/{UNKNOWN}", json=body), 404, "job_not_found")


@pytest.mark.parametrize(("name", "value"), [("q", ""), ("q", "x" * 201), ("starred", "1")])
def test_searches_that_cannot_be(api, name, value):
    assert pointers(api.get(JOBS, params={name: value})) == [f"/query/{name}"]
