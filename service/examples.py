"""An example of each answer, made of the shapes themselves; in the service only, for OpenAPI."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter

from darkroom.api_keys import Limits as KeyLimits
from darkroom.batch import Batch, BatchJob
from darkroom.cards import Limits
from darkroom.events import Ended, Interrupted, Logged, Missed, Previewed, StatusChanged, kind_of
from darkroom.job import Job, JobStatus, Progress
from darkroom.kept_file import KeptFile
from darkroom.model_record import ModelRecord
from darkroom.queue.jobs import QueueState
from darkroom.queue.outbox import FailedMessage
from darkroom.queue.pausing import Paused
from darkroom.queue.use import Use
from darkroom.queue.workers import WorkerInfo
from darkroom.schedulers import SchedulerOptions
from service.doctor import Check
from service.gallery import ImagePage, ListedImage
from service.inspection import Inspection
from service.own_data import Erased
from service.readiness import ReadyModel, ReadyWorker
from service.responses import BatchDryRun, DryRun, FilePage, JobPage, Listing, QueueListing
from service.routes.health import Alive, Ready, Version
from service.routes.loras import LoraFile, UploadedLora
from service.routes.me import Me
from service.routes.models import Model, ModelDefaults
from service.routes.styles import Style
from service.routes.webhooks import Signing
from service.signatures import SignedUrl

JOB_ID = "job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"
PARENT_ID = "job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a29"
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

_IMAGE = ListedImage.model_validate(
    {
        **dict(_DONE.images[0]),
        "job_id": JOB_ID,
        "model": "emoji",
        "prompt": "a red apple",
        "tags": ["poster"],
        "starred": False,
        "created_at": "2026-11-21T11:29:04.030Z",
        "expires_at": "2026-11-28T11:29:04.030Z",
    }
)
_INSPECTION = Inspection(
    format="png",
    width=64,
    height=64,
    made_by_a_model=True,
    software="Darkroom 0.1.0",
    model="emoji",
    source="darkroom",
    request=_QUEUED.request,
    parameters="a red apple\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 3.0, Seed: 7, Size: 64x64",
    warnings=[],
)
_SIGNED = SignedUrl.model_validate(
    {
        "path": f"/api/v1/images/{IMAGE_ID}",
        "url": f"/api/v1/images/{IMAGE_ID}?expires=1795264143&key=0f343b0931126a20&signature="
        + "0f343b0931126a20" * 4,
        "expires_at": "2026-11-21T12:29:03Z",
    }
)
_FILE = KeptFile.model_validate(
    {
        "id": f"file_{'0f343b0931126a20' * 4}",
        "kind": "picture",
        "width": 1024,
        "height": 768,
        "bytes": 1_048_576,
        "created_at": "2026-11-21T11:29:03.120Z",
        "expires_at": "2026-12-21T11:29:03.120Z",
    }
)
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
    styles=["watercolour"],
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
        scheduler_options=SchedulerOptions(),
    ),
    limits=Limits(max_size=128),
    max_edited=None,
    error=None,
    loaded_on=["studio-1"],
    served_by=["studio-1"],
    record=ModelRecord(name="emoji", pipeline="StableDiffusionPipeline", dtype="float32"),
)
_STYLE = Style(
    name="watercolour",
    model=None,
    prompt="{prompt}, watercolour on rough paper",
    negative_prompt="photo",
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

_SIGNING = Signing(
    created_at=datetime(2026, 11, 21, 11, 0, tzinfo=UTC),
    previous_until=datetime(2026, 11, 22, 11, 0, tzinfo=UTC),
)
_FAILED = FailedMessage(
    id="msg_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b_2",
    type="job.succeeded",
    job_id=JOB_ID,
    url="https://app.example/darkroom",
    attempts=10,
    why="Its server answered 500.",
    created_at=datetime(2026, 11, 21, 11, 29, 4, tzinfo=UTC),
    failed_at=datetime(2026, 11, 24, 15, 2, 7, tzinfo=UTC),
)

_READY = Ready(
    status="ready",
    detail="Jobs are accepted and worked on.",
    checks=dict.fromkeys(("redis", "store", "workers", "queues", "models"), "ok"),
    models={"emoji": ReadyModel(state="loaded", workers=["studio-1"], error=None)},
    workers=[ReadyWorker(name="studio-1", state="busy", takes_jobs=True)],
)
_ME = Me(
    id="019a5c6e7f1a7c3e",
    name="web",
    scopes=["read", "submit"],
    expires_at=None,
    limits=KeyLimits(max_queued=50, share=10, gpu_seconds_per_day=3600, weight=2),
    use=Use(active=3, queued=1, gpu_seconds=1204.5, day_ends_s=45_057),
)
_METRICS = """# HELP darkroom_jobs_submitted_total Jobs that were accepted.
# TYPE darkroom_jobs_submitted_total counter
darkroom_jobs_submitted_total{model="emoji"} 12.0
"""

EVENTS: tuple[BaseModel, ...] = (
    StatusChanged(status=JobStatus.RUNNING, attempt=1),
    Progress(stage="denoise", step=3, steps=20, ratio=0.15, eta_s=0.7),
    Previewed(url=f"/api/v1/jobs/{JOB_ID}/preview", width=64, height=64, step=3, steps=20),
    _DONE.images[0],
    Logged(level="info", message="Memory was short: vae_slicing."),
    Ended(status=JobStatus.SUCCEEDED, code=None, job=_DONE),
    Interrupted(
        code="shutting_down",
        message="The service is shutting down. Jobs go on: follow them again.",
    ),
    Missed(message="Events may be lost that came after the last one you had: list the jobs."),
)
"""One of each kind."""


def _stream(**besides: str) -> str:
    """Events as they are sent, each with these fields besides."""
    return "".join(
        f"event: {kind_of(event)}\ndata: {json.dumps(besides | _json(event))}\n"
        f"id: 1763724543{n:03}-0\n\n"
        for n, event in enumerate(EVENTS)
        if not isinstance(event, Interrupted | Missed)
    )


def _json(value: BaseModel) -> Any:
    return value.model_dump(mode="json", by_alias=True)


def _listing(item: Any, value: object) -> Any:
    listing: Any = Listing[item]
    return TypeAdapter(listing).dump_python(listing(data=[value]), mode="json", by_alias=True)


_WORKER_INFO = TypeAdapter(WorkerInfo).validate_python(_WORKER)

_BATCH = Batch(
    id="batch_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2d",
    grid={"seed": [1, 2]},
    jobs=[
        BatchJob(
            id=PARENT_ID,
            status=JobStatus.SUCCEEDED,
            at={"seed": 0},
            images=[f"/api/v1/images/{IMAGE_ID}"],
            url=f"/api/v1/jobs/{PARENT_ID}",
        ),
        BatchJob(id=JOB_ID, status=JobStatus.QUEUED, at={"seed": 1}, url=f"/api/v1/jobs/{JOB_ID}"),
    ],
    created_at=_QUEUED.created_at,
)
_BATCH_DRY_RUN = BatchDryRun(
    jobs=[
        DryRun(
            request=_QUEUED.request,
            warnings=[],
            work_s=0.9,
            work_source="measured",
            queue="emoji.normal",
            position=0,
            eta_s=1.7,
            reason=None,
            workers=["studio-1"],
            loaded=True,
            replays=None,
        )
    ],
    work_s=0.9,
    replays=None,
)

ANSWERS: dict[tuple[str, str], Any] = {
    ("create_job", "200"): _json(_DONE),
    ("create_job", "202"): _json(_QUEUED),
    ("retry_job", "200"): _json(_DONE.model_copy(update={"parent_id": PARENT_ID})),
    ("retry_job", "202"): _json(_QUEUED.model_copy(update={"parent_id": PARENT_ID})),
    ("create_batch", "200"): _json(_BATCH_DRY_RUN),
    ("create_batch", "202"): _json(_BATCH),
    ("read_batch", "200"): _json(_BATCH),
    ("cancel_batch", "200"): _json(_BATCH),
    ("cancel_batch", "202"): _json(_BATCH),
    ("list_jobs", "200"): _json(JobPage(data=[_DONE], next_cursor=None, has_more=False)),
    ("read_job", "200"): _json(_DONE),
    ("mark_job", "200"): _json(_DONE.model_copy(update={"tags": ["poster"], "starred": True})),
    ("cancel_job", "200"): _json(_DONE),
    ("cancel_job", "202"): _json(_CANCELED),
    ("follow_job", "200"): _stream(),
    ("follow_all", "200"): _stream(job_id=JOB_ID),
    ("list_images", "200"): _json(ImagePage(data=[_IMAGE], next_cursor=None, has_more=False)),
    ("inspect", "200"): _json(_INSPECTION),
    ("upload_file", "200"): _json(_FILE),
    ("upload_file", "201"): _json(_FILE),
    ("list_files", "200"): _json(FilePage(data=[_FILE], next_cursor=None, has_more=False)),
    ("read_file", "200"): _json(_FILE),
    ("erase_my_data", "200"): _json(Erased(status="erased", jobs=12, images=31, files=2)),
    ("erase_my_data", "202"): _json(Erased(status="erasing", jobs=1000, images=2048, files=0)),
    ("sign_urls", "200"): _listing(SignedUrl, _SIGNED),
    ("list_models", "200"): _listing(Model, _MODEL),
    ("read_model", "200"): _json(_MODEL)
    | {"vocabulary": _VOCABULARY, "schemas": {"text-to-image": _SCHEMA}},
    ("list_styles", "200"): _listing(Style, _STYLE),
    ("list_loras", "200"): _listing(LoraFile, LoraFile.model_validate(_LORA)),
    ("read_lora", "200"): _json(LoraFile.model_validate(_LORA)),
    ("upload_lora", "200"): _json(_UPLOADED),
    ("upload_lora", "201"): _json(_UPLOADED),
    ("list_queues", "200"): _json(QueueListing(data=[_QUEUE], paused=Paused(False, ("sdxl",)))),
    ("pause_queue", "200"): {"all": False, "models": ["emoji"]},
    ("resume_queue", "200"): {"all": False, "models": []},
    ("read_webhook_secret", "200"): _json(_SIGNING),
    ("rotate_webhook_secret", "201"): _json(_SIGNING) | {"secret": f"whsec_{'A' * 43}="},
    ("try_webhook", "200"): {"delivered": False, "why": "Its server answered 404."},
    ("list_failed_messages", "200"): _listing(FailedMessage, _FAILED),
    ("resend_message", "202"): TypeAdapter(FailedMessage).dump_python(
        replace(_FAILED, attempts=0, failed_at=None), mode="json"
    ),
    ("list_workers", "200"): _listing(WorkerInfo, _WORKER_INFO),
    ("read_me", "200"): _json(_ME),
    ("drain_worker", "202"): TypeAdapter(WorkerInfo).dump_python(_WORKER_INFO, mode="json"),
    ("examine", "200"): _listing(Check, Check("image store", "ok", ".darkroom/images is writable")),
    ("livez", "200"): _json(Alive()),
    ("readyz", "200"): _json(_READY),
    ("version", "200"): _json(Version()),
    ("metrics", "200"): _METRICS,
}
"""By the name of the operation and the status of the answer."""
