"""What AUTOMATIC1111's API answers."""

import json
from datetime import UTC, datetime

import pytest
from fastapi import Request

from darkroom.errors import FieldError
from darkroom.job import ImageRecord, Job, JobError, JobStatus, Progress, QueuePlace
from darkroom.others_requests import of_infotext
from darkroom.queue.newest import Newest
from service.dialects import a1111_answers as answers
from service.errors import Fault
from tests.darkroom.test_provenance import REQUEST

NOW = datetime(2026, 11, 27, 12, 30, 5, tzinfo=UTC)


def image(seed: int, **more: object) -> ImageRecord:
    about = {"id": f"img_{seed}", "url": "/", "width": 8, "height": 9, "seed": seed}
    return ImageRecord(**{**about, "bytes": 1, "sha256": "0"} | more)


def job(**more: object) -> Job:
    about = {"id": "job_1", "status": JobStatus.SUCCEEDED, "request": REQUEST, "created_at": NOW}
    return Job(**about | {"images": [image(5), image(6)]} | more)


def test_what_is_told_of_pictures():
    told = answers.info(job(warnings=["Beware."]))
    assert {"prompt", "negative_prompt", "sampler_name", "cfg_scale", "steps", "sd_model_name"} <= {
        name for name, value in told.items() if value
    }
    assert (told["seed"], told["all_seeds"], told["index_of_first_image"]) == (5, [5, 6], 0)
    assert (told["width"], told["height"], told["job_timestamp"]) == (8, 9, "20261127123005")
    assert len(told["all_prompts"]) == len(told["infotexts"]) == told["batch_size"] == 2
    assert of_infotext(told["infotexts"][1]).request["seed"] == 6
    assert (told["warnings"], told["job_id"]) == (["Beware."], "job_1")
    withheld = image(5, url=None, bytes=None, sha256=None, flagged=True)
    assert answers.info(job(images=[withheld, image(6)]))["all_seeds"] == [6]


def test_pictures_that_were_sent_are_told_back_as_null():
    sent = {"prompt": "a", "init_images": ["A"], "alwayson_scripts": {"x": {"image": "B"}}}
    body = answers.images_body(sent, job(), ["C"], with_inputs=False)
    assert body["images"] == ["C"]
    assert body["parameters"] == {"prompt": "a", "init_images": None, "alwayson_scripts": {}}
    assert json.loads(body["info"])["seed"] == 5
    body = answers.images_body(sent, job(), [], with_inputs=True)
    assert body["parameters"]["init_images"] == ["A"]


def test_what_is_told_back_is_json():
    sent = {"eta": float("inf"), "script_args": [1.5, {"a": float("nan")}], "tiling": False}
    told = answers.images_body(sent, job(), [], with_inputs=False)["parameters"]
    assert (told["eta"], told["script_args"], told["tiling"]) == (None, [1.5, {"a": None}], False)


def test_how_far_a_job_is():
    running = Progress(stage="denoise", step=3, steps=10, ratio=0.3, eta_s=2.0)
    told = answers.progress_body(Newest(2, job(progress=running)), "A")
    assert (told["progress"], told["eta_relative"], told["textinfo"]) == (0.3, 2.0, "denoise")
    assert (told["state"]["job_count"], told["state"]["sampling_step"]) == (2, 3)
    waiting = job(status=JobStatus.QUEUED, queue=QueuePlace(name="q", position=1, eta_s=9.0))
    told = answers.progress_body(Newest(1, waiting), None)
    assert (told["progress"], told["eta_relative"], told["textinfo"]) == (0.0, 9.0, "queued")
    told = answers.progress_body(Newest(0, None), None)
    assert (told["progress"], told["state"]["job_count"], told["state"]["job"]) == (0.0, 0, "")


@pytest.mark.parametrize(
    ("ended", "status", "code"),
    [
        ({"status": JobStatus.SUCCEEDED}, 400, "safety_blocked"),
        ({"status": JobStatus.CANCELED}, 409, "canceled"),
        ({"error": JobError(code="unsupported", message="No.")}, 422, "unsupported"),
        ({"error": JobError(code="poison", message="No.")}, 500, "poison"),
    ],
)
def test_why_there_is_no_picture(ended, status, code):
    fault = answers.failure(job(**({"status": JobStatus.FAILED} | ended), images=[]))
    assert (fault.status, fault.code) == (status, code)


@pytest.mark.parametrize(
    ("pointer", "name"),
    [
        ("/num_inference_steps", "steps: "),
        ("/hires/scale", "hr_scale: "),
        ("/hires", "enable_hr: "),
        ("/controls/0/name", "alwayson_scripts/ControlNet/0/name: "),
        ("/override_settings/sd_model_checkpoint", "override_settings/sd_model_checkpoint: "),
        ("", ""),
    ],
)
def test_errors_name_fields_as_clients_do(pointer, name):
    fault = Fault(422, "invalid_parameters", "Wrong.", [FieldError(pointer, "No.", "x")])
    told = json.loads(answers.write_error(asked("txt2img"), fault).body)
    assert told["detail"] == told["errors"] == f"{name}No."
    assert (told["error"], told["body"]) == ("invalid_parameters", "")


def test_a_picture_is_called_so_elsewhere():
    fault = Fault(422, "invalid_parameters", "Wrong.", [FieldError("/image", "No.", "x")])
    assert b"init_images: No." in answers.write_error(asked("img2img"), fault).body
    assert b'"image: No."' in answers.write_error(asked("extra-single-image"), fault).body


def asked(name: str) -> Request:
    return Request({"type": "http", "path": f"/sdapi/v1/{name}"})


def test_an_error_without_fields_is_its_sentence():
    told = json.loads(answers.write_error(asked("x"), Fault(404, "not_found", "No path.")).body)
    assert told["detail"] == "No path."
