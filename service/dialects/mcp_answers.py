"""Jobs, pictures and models as answers of the Model Context Protocol; in the service, queues
nothing."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from anyio import to_thread
from fastapi import Request

from darkroom.errors import DarkroomError
from darkroom.images import ImageStore, StoredImage
from darkroom.job import ImageRecord, Job, JobStatus
from darkroom.offers import Offer
from service.access import Jobs
from service.dependencies import Darkroom
from service.dialects.mcp_tools import IMAGES
from service.dialects.pictures import url_of
from service.errors import fault_of
from service.gallery import ListedImage
from service.negotiation import no_picture
from service.pictures.messages import CopyWish

SHOWN_PIXELS = 768 * 768
"""Of all pictures of an answer together; clients take about a megabyte of them."""
SHOWN_FORMAT = "webp"
POLL_AFTER_MS = 1000
"""When clients should look for a task again."""
_TASK_STATUS = {
    JobStatus.QUEUED: "working",
    JobStatus.RUNNING: "working",
    JobStatus.CANCELED: "cancelled",
}
"""Those that have ended otherwise have a result: `completed`, also where it says what failed."""


def uri_of(image_id: str) -> str:
    return f"{IMAGES}{image_id}"


async def told_of(http: Request, here: Darkroom, jobs: Jobs, job: Job) -> dict[str, Any]:
    """The structured content of an answer about a job."""
    urls = [await url_of(http, here, jobs.asker, image) for image in job.kept]
    told: dict[str, Any] = {"job_id": job.id, "status": str(job.status)}
    told["model"] = job.request.get("model")
    told["images"] = [
        {
            "uri": uri_of(image.id),
            "url": url,
            "width": image.width,
            "height": image.height,
            "seed": image.seed,
        }
        for image, url in zip(job.kept, urls, strict=True)
    ]
    if not job.status.terminal:
        told["progress"] = how_far(job)
        told["next"] = f"The job goes on: call get_job with job_id {job.id!r}."
    elif not job.kept:
        told["error"] = no_picture(job).detail
    if withheld := len(job.images) - len(job.kept):
        told["withheld"] = withheld
    return told | ({"warnings": job.warnings} if job.warnings else {})


def how_far(job: Job) -> str:
    """How far a job is that has not ended, for people."""
    if job.queue:
        waits = f"queued, {job.queue.position} jobs of its queue go first"
        return waits + (f". {job.queue.reason}" if job.queue.reason else "")
    if job.progress is None:
        return str(job.status)
    steps = f", step {job.progress.step} of {job.progress.steps}" if job.progress.steps else ""
    return f"{job.progress.doing}{steps}"


async def job_result(
    http: Request, here: Darkroom, jobs: Jobs, job: Job, *, is_made: bool
) -> dict[str, Any]:
    """The answer of a tool about a job, with its pictures once they are there. `is_made`: of one
    that was to make them, so that a job without any is an error."""
    told = await told_of(http, here, jobs, job)
    content = [await _shown(here, jobs, image, len(job.kept)) for image in job.kept]
    content += [_link(image) for image in job.kept]
    failed = is_made and job.status.terminal and not job.kept
    return _tool_result(told, content, is_error=failed)


def tool_error(error: DarkroomError) -> dict[str, Any]:
    """The answer of a tool that did nothing: a model may read it and do better."""
    fault = fault_of(error)
    text = " ".join(f"{e.pointer.strip('/')}: {e.detail}" for e in fault.errors) or fault.detail
    return _tool_result({"error": text, "code": fault.code}, [], is_error=True)


def _tool_result(
    told: Mapping[str, Any], content: Sequence[Mapping[str, Any]], *, is_error: bool = False
) -> dict[str, Any]:
    text = {"type": "text", "text": json.dumps(told, ensure_ascii=False)}
    return {"content": [text, *content], "structuredContent": told, "isError": is_error}


async def _shown(here: Darkroom, jobs: Jobs, image: ImageRecord, among: int) -> dict[str, Any]:
    """A picture for the eyes of a model, small enough beside as many; or why there is none."""
    width = math.floor(image.width * math.sqrt(SHOWN_PIXELS / among / image.width / image.height))
    try:
        found = await jobs.find_image(image.id)
        data = await here.inputs.decoders.copy(
            await to_thread.run_sync(_read, here.store, found),
            CopyWish(SHOWN_FORMAT, max(min(width, image.width), 1)),
        )
    except DarkroomError as error:
        return {"type": "text", "text": f"{uri_of(image.id)}: {fault_of(error).detail}"}
    encoded = base64.b64encode(data).decode()
    return {"type": "image", "data": encoded, "mimeType": f"image/{SHOWN_FORMAT}"}


def _link(image: ImageRecord) -> dict[str, Any]:
    return {"type": "resource_link", **_resource(image)}


def _resource(image: ImageRecord) -> dict[str, Any]:
    about = {"uri": uri_of(image.id), "name": image.id, "mimeType": f"image/{image.format}"}
    size = f"{image.width}x{image.height}, seed {image.seed}"
    return about | {"description": size} | ({"size": image.bytes} if image.bytes else {})


def listed(image: ListedImage) -> dict[str, Any]:
    """A picture in the list of resources."""
    title = " ".join((image.prompt or "").split())[:100] or image.id
    return _resource(image) | {
        "title": title,
        "annotations": {"lastModified": _moment(image.created_at)},
    }


async def contents(
    here: Darkroom, uri: str, image: StoredImage, width: int | None
) -> dict[str, Any]:
    """A picture as it is, or no wider than `width`. Raises InvalidImageError, DecodersBusyError,
    StoreUnavailableError, ImageNotFoundError."""
    data = await to_thread.run_sync(_read, here.store, image)
    if width:
        data = await here.inputs.decoders.copy(data, CopyWish(image.format, width))
    blob = base64.b64encode(data).decode()
    return {"uri": uri, "mimeType": f"image/{image.format}", "blob": blob}


def _read(store: ImageStore, image: StoredImage) -> bytes:
    with store.open(image) as file:
        return file.read()


def models_result(offers: Sequence[Offer], default: str) -> dict[str, Any]:
    """The answer of the tool that lists models."""
    return _tool_result({"models": [_model(each, default) for each in offers]}, [])


def _model(offer: Offer, default: str) -> dict[str, Any]:
    card = offer.card
    told: dict[str, Any] = {
        "name": card.name,
        "default": card.name == default,
        "tasks": list(offer.tasks),
        "width": offer.width,
        "height": offer.height,
        "max_size": offer.limits.max_size,
        "num_inference_steps": offer.steps,
        "guidance_scale": offer.guidance,
        "schedulers": list(offer.schedulers),
        "loras": list(offer.loras),
        "prompts": list(card.examples),
        "error": offer.error or offer.refused,
    }
    return {name: value for name, value in told.items() if value not in (None, [])}


def task_of(job: Job) -> dict[str, Any]:
    """A job as a task, without its result."""
    status = _TASK_STATUS.get(job.status, "completed")
    told = {
        "taskId": job.id,
        "status": status,
        "createdAt": _moment(job.created_at),
        "lastUpdatedAt": _moment(job.finished_at or job.started_at or job.created_at),
        "ttlMs": _ttl_ms(job),
        "pollIntervalMs": POLL_AFTER_MS,
    }
    if status == "working":
        told["statusMessage"] = how_far(job)
    elif status == "cancelled":
        told["statusMessage"] = no_picture(job).detail
    return told


def _ttl_ms(job: Job) -> int | None:
    """For how long a task can be asked for; None before that is known."""
    if job.expires_at is None:
        return None
    return int((job.expires_at - job.created_at).total_seconds() * 1000)


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
