"""An example of each answer, made of the shapes themselves; in the service only, for OpenAPI."""

from typing import Any

from pydantic import BaseModel, TypeAdapter

from darkroom.cards import Limits
from darkroom.events import Ended, StatusChanged
from darkroom.job import Job, JobStatus, Progress
from darkroom.offers import ModelRecord
from darkroom.queue.jobs import QueueState
from darkroom.queue.workers import WorkerInfo
from service.readiness import ReadyModel, ReadyWorker
from service.responses import JobPage, Listing
from service.routes.health import Alive, Ready, Version
from service.routes.loras import LoraFile, UploadedLora
from service.routes.models import Model, ModelDefaults

JOB_ID = "job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"
IMAGE_ID = "img_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2c"

_QUEUED = Job.model_validate(
    {
        "id": JOB_ID,
        "status": "queued",
        "request": {
            "task": "text-to-image",
            "model": "emoji",
            "prompt": "a red apple",
            "negative_prompt": "",
            "width": 64,
            "height": 64,
            "num_inference_steps": 20,
            "guidance_scale": 3.0,
            "scheduler": "DPMSolverMultistepScheduler",
            "seed": 7,
            "num_images": 1,
            "output": {"format": "png", "quality": 90, "metadata": "full"},
        },
        "queue": {"name": "emoji.normal", "position": 0, "eta_s": 1.7, "work_s": 0.9},
        "created_at": "2026-11-21T11:29:03.120Z",
    }
)
_DONE = Job.model_validate(
    _QUEUED.model_dump(exclude={"urls"})
    | {
        "status": "succeeded",
        "queue": None,
        "progress": {"stage": "save", "step": 20, "steps": 20, "ratio": 1.0, "eta_s": 0.0},
        "images": [
            {
                "id": IMAGE_ID,
                "url": f"/api/v1/images/{IMAGE_ID}",
                "width": 64,
                "height": 64,
                "seed": 7,
                "format": "png",
                "bytes": 9120,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            }
        ],
        "timings": {"queued": 0.02, "denoise": 0.81, "decode": 0.05, "save": 0.01, "total": 0.91},
        "worker": "studio-1",
        "attempts": 1,
        "started_at": "2026-11-21T11:29:03.140Z",
        "finished_at": "2026-11-21T11:29:04.030Z",
        "expires_at": "2026-11-28T11:29:04.030Z",
    }
)
_CANCELED = _QUEUED.model_copy(update={"status": JobStatus.CANCELED, "queue": None})

_LORA = {
    "name": "ink",
    "model": "sd15",
    "licence": None,
    "error": None,
    "uploaded": True,
    "bytes": 37_861_176,
    "updated_at": "2026-11-21T11:29:03Z",
}
_UPLOADED = UploadedLora.model_validate(
    _LORA | {"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
)
_MODEL = Model(
    id="emoji",
    default=True,
    aliases=["demo"],
    source="models/emoji",
    revision=None,
    licence="Apache-2.0",
    tasks=["text-to-image", "image-to-image"],
    fields={"text-to-image": ["guidance_scale", "height", "num_inference_steps", "prompt"]},
    loras=[],
    controlnets=[],
    embeddings=[],
    examples=["a red apple", "large rocket on a blue background"],
    safety=None,
    schedulers=["DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"],
    defaults=ModelDefaults(
        width=64,
        height=64,
        num_inference_steps=25,
        guidance_scale=3.0,
        negative_prompt="",
        strength=0.8,
        scheduler="DPMSolverMultistepScheduler",
    ),
    limits=Limits(max_size=128),
    max_edited=None,
    error=None,
    loaded_on=["studio-1"],
    served_by=["studio-1"],
    record=ModelRecord(name="emoji", pipeline="StableDiffusionPipeline", dtype="float32"),
)
_VOCABULARY = {"things": [["red apple", "apple"], ["rocket"]], "words": ["large", "small", "blue"]}
_SCHEMA = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "maxLength": 4000}},
    "required": ["prompt"],
}
_WORKER: dict[str, Any] = {
    "name": "studio-1",
    "engine": "studio-1-019a5c6e",
    "state": "busy",
    "models": ["emoji"],
    "serves": ["emoji"],
    "device": "cuda:0",
    "max_jobs": 8,
    "running": 3,
    "version": "0.2.0",
    "started_at": "2026-11-21T08:00:00Z",
    "host": "studio",
    "pid": 4711,
    "seen_at": "2026-11-21T11:29:03Z",
}
_QUEUE = QueueState(
    name="emoji.normal", queued=4, running=3, oldest_age_s=1.7, workers=1, backlog_s=3.4
)

_READY = Ready(
    status="ready",
    detail="Jobs are accepted and worked on.",
    checks={"redis": "ok", "store": "ok", "workers": "ok"},
    models={"emoji": ReadyModel(state="loaded", workers=["studio-1"], error=None)},
    workers=[ReadyWorker(name="studio-1", state="busy", takes_jobs=True)],
)
_METRICS = """# HELP darkroom_jobs_submitted_total Jobs that were accepted.
# TYPE darkroom_jobs_submitted_total counter
darkroom_jobs_submitted_total{model="emoji"} 12.0
"""

EVENTS = "".join(
    f"event: {kind}\ndata: {event.model_dump_json(by_alias=True)}\nid: 1763724543{n:03}-0\n\n"
    for n, (kind, event) in enumerate(
        (
            ("status", StatusChanged(status=JobStatus.RUNNING, attempt=1)),
            ("progress", Progress(stage="denoise", step=3, steps=20, ratio=0.15, eta_s=0.7)),
            ("image", _DONE.images[0]),
            ("done", Ended(status=JobStatus.SUCCEEDED, code=None, job=_DONE)),
        )
    )
)


def _json(value: BaseModel) -> Any:
    return value.model_dump(mode="json", by_alias=True)


def _listing(item: Any, value: object) -> Any:
    listing: Any = Listing[item]
    return TypeAdapter(listing).dump_python(listing(data=[value]), mode="json", by_alias=True)


_WORKER_INFO = TypeAdapter(WorkerInfo).validate_python(_WORKER)

ANSWERS: dict[tuple[str, str], Any] = {
    ("create_job", "200"): _json(_DONE),
    ("create_job", "202"): _json(_QUEUED),
    ("list_jobs", "200"): _json(JobPage(data=[_DONE], next_cursor=None, has_more=False)),
    ("read_job", "200"): _json(_DONE),
    ("cancel_job", "200"): _json(_DONE),
    ("cancel_job", "202"): _json(_CANCELED),
    ("follow_job", "200"): EVENTS,
    ("list_models", "200"): _listing(Model, _MODEL),
    ("read_model", "200"): _json(_MODEL)
    | {"vocabulary": _VOCABULARY, "schemas": {"text-to-image": _SCHEMA}},
    ("list_loras", "200"): _listing(LoraFile, LoraFile.model_validate(_LORA)),
    ("read_lora", "200"): _json(LoraFile.model_validate(_LORA)),
    ("upload_lora", "200"): _json(_UPLOADED),
    ("upload_lora", "201"): _json(_UPLOADED),
    ("list_queues", "200"): _listing(QueueState, _QUEUE),
    ("list_workers", "200"): _listing(WorkerInfo, _WORKER_INFO),
    ("livez", "200"): _json(Alive()),
    ("readyz", "200"): _json(_READY),
    ("version", "200"): _json(Version()),
    ("metrics", "200"): _METRICS,
}
"""By the name of the operation and the status of the answer."""
