"""Jobs as predictions."""

from datetime import UTC, datetime
from typing import Any

import pytest

from darkroom.job import ImageRecord, Job, JobError, JobStatus, Progress, Timings
from darkroom.predictions import WITHHELD, deleted, logs_of, paths_of, prediction

ROOT = "https://darkroom.example"
ID = f"job_{'0' * 32}"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def job(status: JobStatus = JobStatus.QUEUED, **more: Any) -> Job:
    request = {"task": "text-to-image", "model": "pix", "prompt": "a cat", "loras": []}
    request |= {"num_images": 2, "output": {"format": "jpeg", "quality": 70, "metadata": "full"}}
    return Job(id=ID, status=status, created_at=NOW, **{"request": request} | more)


def image(url: str | None) -> ImageRecord:
    return ImageRecord(id="img_1", url=url, width=8, height=8, seed=1, bytes=1, sha256="")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (JobStatus.QUEUED, "starting"),
        (JobStatus.RUNNING, "processing"),
        (JobStatus.FAILED, "failed"),
        (JobStatus.CANCELED, "canceled"),
    ],
)
def test_statuses(status: JobStatus, told: str) -> None:
    made = prediction(job(status), ROOT, {})
    assert (made["status"], made["output"], made["error"]) == (told, None, None)


def test_names_of_inputs_and_addresses() -> None:
    made = prediction(job(), ROOT, {})
    assert (made["model"], made["version"], made["data_removed"]) == ("darkroom/pix", "pix", False)
    assert made["input"] == {
        "prompt": "a cat",
        "num_outputs": 2,
        "output_format": "jpeg",
        "output_quality": 70,
    }
    here = f"{ROOT}/replicate/v1/predictions/{ID}"
    assert made["urls"] == {
        "get": here,
        "cancel": f"{here}/cancel",
        "stream": f"{here}/stream",
        "web": f"{ROOT}/api/v1/jobs/{ID}",
    }
    assert (made["created_at"], made["started_at"]) == ("2026-11-27T12:00:00Z", None)


def test_output_is_what_can_be_had_with_signatures_where_there_are_some() -> None:
    done = job(JobStatus.SUCCEEDED, images=[image("/a"), image(None), image("/b")])
    assert paths_of(done)[:2] == ["/a", "/b"]
    made = prediction(done, ROOT, {"/b": "/b?signature=1"})
    assert made["output"] == [f"{ROOT}/a", f"{ROOT}/b?signature=1"]


def test_a_job_whose_pictures_were_all_withheld_has_failed() -> None:
    made = prediction(job(JobStatus.SUCCEEDED, images=[image(None)]), ROOT, {})
    assert (made["status"], made["error"], made["output"]) == ("failed", WITHHELD, None)


def test_why_it_failed_and_how_long_it_took() -> None:
    more: dict[str, Any] = {"error": JobError(code="x", message="Too large.")}
    more |= {"timings": Timings(queued=1.0, total=3.5)}
    made = prediction(job(JobStatus.FAILED, **more), ROOT, {})
    assert made["error"] == "Too large."
    assert made["metrics"] == {"predict_time": 2.5, "total_time": 3.5, "image_count": 0}


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(stage="denoise", step=0, steps=3), "  0%|          | 0/3"),
        (Progress(stage="denoise", step=1, steps=3), " 33%|###       | 1/3"),
        (Progress(stage="save", step=3, steps=3), "100%|##########| 3/3"),
        (Progress(stage="load", detail="the model pix"), "load the model pix"),
    ],
)
def test_logs(progress: Progress, line: str) -> None:
    running = job(JobStatus.RUNNING, warnings=["Mind this."], progress=progress)
    assert logs_of(running) == ["Mind this.", line]


def test_a_job_that_is_no_longer_kept() -> None:
    told = deleted(ID, JobStatus.CANCELED, ROOT)
    assert (told["status"], told["data_removed"], told["input"]) == ("canceled", True, {})
    assert told.keys() == prediction(job(), ROOT, {}).keys()
