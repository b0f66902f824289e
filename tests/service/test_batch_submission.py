"""How a batch is checked and taken in; what comes of it is in routes/test_batches.py."""

import base64
import io

from PIL import Image

from darkroom.errors import MOST_ERRORS
from tests.service.routes.test_jobs import pointers

BATCH = "/api/v1/jobs/batch"
CAT = {"prompt": "a cat"}


def test_a_fault_that_all_cells_share_is_told_once(api):
    body = CAT | {"height": 7, "nope": 1, "grid": {"seed": list(range(100))}}
    assert pointers(api.post(BATCH, json=body)) == ["/height", "/nope"]


def test_no_more_is_told_than_anybody_reads(api):
    answer = api.post(BATCH, json={"jobs": [CAT | {"width": 7}] * 100})
    told = answer.json()["errors"]
    assert len(told) == MOST_ERRORS + 1
    assert told[-1]["code"] == "more"


def test_what_a_batch_asks_for_is_kept_on_each_job(api):
    body = CAT | {
        **{"guidance_scale": 16, "grid": {"priority": ["low"], "metadata": [{"a": "b"}]}},
        **{"tags": ["x"], "deadline_s": 60},
    }
    batch = api.post(BATCH, json=body).json()
    job = api.get(batch["jobs"][0]["url"]).json()
    assert (job["priority"], job["metadata"], job["tags"]) == ("low", {"a": "b"}, ["x"])
    assert job["warnings"] == batch["jobs"][0]["warnings"]
    assert "saturated" in job["warnings"][0]
    assert "No worker serves" in job["warnings"][1]
    assert job["queue"]["work_s"] > 0


def test_the_same_file_is_another_picture_before_another_background(api):
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (9, 9, 9, 0)).save(file, "png")
    sent = base64.b64encode(file.getvalue()).decode()
    grid = {"background": ["#ffffff", "#000000"], "seed": [1, 2]}
    batch = api.post(BATCH, json=CAT | {"image": sent, "grid": grid}).json()
    images = [api.get(job["url"]).json()["request"]["image"] for job in batch["jobs"]]
    assert images[0] == images[1] != images[2] == images[3]
