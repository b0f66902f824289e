"""A job as clients of Replicate's API know it, a prediction; used by service and keeper, knows
neither HTTP nor Redis.

Fields and words are Replicate's: https://replicate.com/docs/reference/http
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from darkroom.job import Job, JobStatus, Progress

PREFIX = "/replicate/v1"
"""Where the API is, below the address of the service."""
OWNER = "darkroom"
"""Whose all models are, in that API's names for them."""
FIELDS = {
    "num_images": "num_outputs",
    "mask_image": "mask",
    "strength": "prompt_strength",
}
"""What fields of a request are called as inputs of a prediction, where that is not the same."""
WITHHELD = "All pictures of the job were withheld."

_STATUS = {
    JobStatus.QUEUED: "starting",
    JobStatus.RUNNING: "processing",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "canceled",
}
_NO_INPUTS = frozenset({"task", "model", "output"})
_BAR = 10
"""Characters of a bar that shows how far a job is."""


def stream_of(job_id: str) -> str:
    """The path of a prediction's stream."""
    return f"{PREFIX}/predictions/{job_id}/stream"


def paths_of(job: Job) -> list[str]:
    """The paths that a prediction names and clients ask for without a key: its pictures', which
    are in order, and its stream's."""
    return [*(image.url for image in job.kept if image.url), stream_of(job.id)]


def prediction(job: Job, root: str, signed: Mapping[str, str]) -> dict[str, Any]:
    """A job as a prediction, as JSON. `root`: the address of the service, before all paths;
    `signed`: for paths of `paths_of` those with signatures."""
    output = [f"{root}{signed.get(path, path)}" for path in paths_of(job)[:-1]]
    return _told(job.id, root, signed) | {
        "model": f"{OWNER}/{job.request['model']}",
        "version": job.request["model"],
        "status": status_of(job),
        "input": _input(job.request),
        "output": output or None,
        "logs": "\n".join(logs_of(job)),
        "error": error_of(job),
        "metrics": _metrics(job),
        "created_at": _moment(job.created_at),
        "started_at": _moment(job.started_at),
        "completed_at": _moment(job.finished_at),
    }


def deleted(job_id: str, status: JobStatus, root: str) -> dict[str, Any]:
    """What is left to tell of a job that is no longer kept."""
    return _told(job_id, root, {}) | {"status": _STATUS[status], "data_removed": True}


def status_of(job: Job) -> str:
    """A job without a picture that can be had has failed, to such a client."""
    is_empty = job.status is JobStatus.SUCCEEDED and not job.kept
    return "failed" if is_empty else _STATUS[job.status]


def error_of(job: Job) -> str | None:
    """Why there is no output, for people."""
    if job.status is JobStatus.SUCCEEDED and not job.kept:
        return WITHHELD
    return job.error.message if job.error else None


def logs_of(job: Job) -> list[str]:
    """Lines that tell what may not be as the client thinks, and how far the job is."""
    return [*job.warnings, *([_line(job.progress)] if job.progress else [])]


def _told(job_id: str, root: str, signed: Mapping[str, str]) -> dict[str, Any]:
    """All fields, of a job of which nothing is known."""
    here, stream = f"{root}{PREFIX}/predictions/{job_id}", stream_of(job_id)
    urls = {
        "get": here,
        "cancel": f"{here}/cancel",
        "stream": f"{root}{signed.get(stream, stream)}",
        "web": f"{root}/api/v1/jobs/{job_id}",
    }
    nothing = ("output", "error", "created_at", "started_at", "completed_at")
    return {
        "id": job_id,
        "model": OWNER,
        "version": "",
        "source": "api",
        "input": {},
        "logs": "",
        "metrics": {},
        "urls": urls,
        "data_removed": False,
        **dict.fromkeys(nothing),
    }


def _input(request: Mapping[str, Any]) -> dict[str, Any]:
    """The resolved request by the names of inputs: posted back it gives the same picture."""
    told = {
        FIELDS.get(name, name): value
        for name, value in request.items()
        if name not in _NO_INPUTS and value not in (None, "", [], {})
    }
    if output := request.get("output"):
        told["output_format"] = output["format"]
        if output["format"] != "png":
            told["output_quality"] = output["quality"]
    return told


def _metrics(job: Job) -> dict[str, float | int]:
    """Seconds, as far as they are known."""
    timings = job.timings
    if timings is None or timings.total is None:
        return {}
    worked = max(timings.total - (timings.queued or 0.0), 0.0)
    told = {"predict_time": round(worked, 4), "total_time": timings.total}
    return told | {"image_count": len(job.kept)}


def _line(progress: Progress) -> str:
    """As tqdm writes it, which clients read their `progress` from; words before the first step."""
    if not progress.steps:
        return progress.doing
    share = progress.step / progress.steps
    return f"{share:4.0%}|{'#' * int(share * _BAR):<{_BAR}}| {progress.step}/{progress.steps}"


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
