"""Replicate's API of predictions, asked by clients for Node: Replicate's own and the AI SDK's
provider."""

import json
import os
import subprocess
import threading

import pytest

from darkroom.job import JobError, JobStatus
from tests.service.conftest import know_models, knows, png
from tests.service.masks import CORNER, corner_png, white_in
from tests.service.routes.test_openai_node import NODE, pytestmark  # noqa: F401


def test_replicates_own(guarded, redis, guarded_work, made, tmp_path):
    """With a key, which the client sends for neither pictures nor streams."""
    know_models(redis)
    picture = tmp_path / "picture.png"
    picture.write_bytes(png())

    def finish():
        for _ in range(3):
            guarded_work.finish(guarded_work.claim(patience_s=100))

    worker = threading.Thread(target=finish)
    worker.start()
    done = subprocess.run(
        ["node", NODE / "replicate.mjs", f"{guarded.url}/replicate/v1", picture],
        env=os.environ | {"KEY": made("node").reveal()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    worker.join()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["made"] == [len(png(color=(n, 9, 9))) for n in range(2)]
    assert told["file"] == len(png(color=(0, 9, 9)))
    assert [each for each in told["events"] if each != "logs"] == ["output", "output", "done"]
    assert told["canceled"] == "canceled"
    assert told["listed"] == ["canceled", "succeeded", "succeeded", "succeeded"]
    assert (told["version"], told["account"]) == ("pix", "node")
    assert told["error"] == {"name": "ApiError", "status": 422}


@pytest.mark.long
def test_the_ai_sdks_provider(guarded, redis, guarded_work, made, tmp_path, jobs):
    """It takes what the answer brings, and never asks again for a prediction."""
    knows(redis, "pix", "text-to-image", "inpaint")
    picture, mask = tmp_path / "picture.png", tmp_path / "mask.png"
    picture.write_bytes(png())
    mask.write_bytes(corner_png())

    def finish():
        for _ in range(2):
            guarded_work.finish(guarded_work.claim(patience_s=100))
        error = JobError(code="invalid_output", message="No numbers.")
        guarded_work.finish(guarded_work.claim(patience_s=100), JobStatus.FAILED, error=error)

    worker = threading.Thread(target=finish)
    worker.start()
    done = subprocess.run(
        ["node", NODE / "ai-replicate.mjs", f"{guarded.url}/replicate/v1", picture, mask],
        env=os.environ | {"KEY": made("node").reveal()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    worker.join()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["made"] == [["image/png", len(png(color=(0, 9, 9)))]]
    assert (told["warnings"], told["masked"]) == (0, 1)
    assert told["error"]["status"] == 422
    assert told["error"]["message"].startswith("input.width: Must be a multiple of 8.")
    assert told["failed"]
    _, masked, first = (job.request for job in jobs.page().jobs)
    asked = {"width": 64, "height": 128, "seed": 7, "negative_prompt": "a dog"}
    assert asked.items() <= first.items()
    assert (masked["task"], masked["prompt"], masked["strength"]) == ("inpaint", "blue", 0.5)
    assert white_in(guarded.here, masked["mask_image"]) == CORNER
