"""The job: its fields and its statuses; used by all processes."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field
from uuid_utils import uuid7

from darkroom.codes import retryable
from darkroom.request import PictureFormat
from darkroom.webhook import Webhook

Priority = Literal["high", "normal", "low"]


class JobStatus(StrEnum):
    """What clients see. Terminal values never change."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL

    @property
    def rq(self) -> str:
        """The word that RQ's tools expect in the job's hash."""
        return RQ_WORDS[self]

    @classmethod
    def from_rq(cls, word: str) -> "JobStatus":
        """Raises ValueError for a word that Darkroom never writes."""
        for status, rq_word in RQ_WORDS.items():
            if rq_word == word:
                return status
        raise ValueError(f"{word!r} is not a status that Darkroom writes")


LEAST_WORK_S = 0.05
"""Seconds of work that any job counts as, where jobs are put in order."""
UNKNOWN_WORK_S = 1.0
"""Of a job without an estimate; as in queue/lua/prelude.lua."""

TERMINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED})

RQ_WORDS = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "started",
    JobStatus.SUCCEEDED: "finished",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELED: "canceled",
}


def new_job_id() -> str:
    """`job_` and a UUIDv7 (RFC 9562): sortable by time, unguessable in its last 74 bits."""
    return f"job_{uuid7().hex}"


def new_image_id() -> str:
    return f"img_{uuid7().hex}"


JOB_ID = re.compile(r"job_[0-9a-f]{32}", re.ASCII)
IMAGE_ID = re.compile(r"img_[0-9a-f]{32}", re.ASCII)
INPUT_ID = re.compile(r"file_[0-9a-f]{64}", re.ASCII)
"""The hash of an input picture: what requests hold in its place."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


COMPILING = "compiling"
"""The first word of a progress's `detail` while a model is compiled for a job."""

Stage = Literal["load", "encode", "denoise", "decode", "save"]
"""What a running job does."""


class Progress(Frozen):
    """How far a running job is."""

    stage: Stage
    """load: its model, or it waits for a place beside other jobs, or its model is compiled, also
    between two steps; encode: prompts and pictures; denoise; decode: latents to pictures; save:
    files and records."""
    detail: str | None = None
    """What is being loaded or compiled, in words; null otherwise."""
    loaded: float | None = None
    """0 to 1: the share of the model's weights that has been read, by bytes, while it is loaded;
    null otherwise."""
    step: int = 0
    """Denoising steps done, on the scale of `steps`."""
    steps: int = 0
    """Those that it makes: `num_inference_steps`, less by `strength`, more by `hires`."""
    ratio: float = 0.0
    """0 to 1, never falling within an attempt: the share of the denoising steps, to which decoding
    and saving the pictures add one each. 1 when all pictures are stored."""
    eta_s: float | None = None
    """Seconds left, estimated from the steps made so far; null before the first."""

    @property
    def doing(self) -> str:
        """What the job does, for people: `load the model sdxl`."""
        if self.detail is None:
            return self.stage
        if self.detail.startswith(COMPILING):
            return self.detail
        share = "" if self.loaded is None else f", {self.loaded:.0%}"
        return f"{self.stage} {self.detail}{share}"


PAUSED = "An operator paused its queue; it waits until they resume it."
NO_WORKER = "No worker serves its model now; it waits until one does."


class QueuePlace(Frozen):
    """Where a job waits."""

    name: str
    """The queue: model and priority."""
    position: int
    """How many jobs of the same queue go first; 0 means next."""
    eta_s: float | None = None
    """Seconds until it has ended, estimated from the work ahead of it and what workers get through;
    null while nobody can tell."""
    reason: str | None = None
    """Why nobody can tell: its queue is paused, or nobody serves its model. A sentence for
    people."""
    work_s: float = UNKNOWN_WORK_S
    """Seconds that it is likely to take if it runs alone, estimated when it was accepted."""


class ImageRecord(Frozen):
    """One picture of a job, without its bytes."""

    id: str
    """`img_` and 32 hexadecimal digits."""
    url: str | None
    """Where it can be had; null when it was withheld."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    seed: int
    """Where its noise started from; with it alone the same picture is made again."""
    format: PictureFormat = "png"
    """How the file is written."""
    bytes: int | None
    """Of the file; null when it was withheld."""
    sha256: str | None
    """Hash of the file, in hexadecimal; null when it was withheld."""
    flagged: bool | None = None
    """Whether a safety checker flagged it, and it was withheld; null when none is configured."""
    reproducibility: dict[str, Any] | None = None
    """What a replay must match to be bit-equal: the class, the row counts, device and dtype."""


class JobError(Frozen):
    """Why a job did not succeed."""

    code: str
    """Stable: what programs decide by."""
    message: str
    """A sentence for people, with what to do."""
    retryable: bool = Field(default_factory=lambda given: retryable(given.get("code", "")))
    """Whether the same request may succeed later, as it is."""


class Timings(Frozen):
    """Seconds spent in each stage, over all attempts; null where the stage was not reached. They
    add up to `total`, the time from `created_at` to `finished_at`."""

    queued: float | None = None
    """Waiting for a worker, at first or again. Here also counts what an attempt had not told of
    when its engine died."""
    load: float | None = None
    """From its begin to the first call: the model is loaded."""
    encode: float | None = None
    """Prompts and input pictures."""
    denoise: float | None = None
    """The steps."""
    decode: float | None = None
    """From latents to pixels."""
    save: float | None = None
    """From pixels to files that are stored."""
    total: float | None = None
    """All of it."""
    device: float | None = None
    """Apart from these, seconds of work on its device, as measured: of a pass that it shared with
    other jobs its share. Null where nobody measured them."""


class JobUrls(Frozen):
    """Where to ask about a job."""

    self_: str = Field(alias="self")
    """The job itself."""
    events: str
    """What happens to it, as server-sent events."""
    cancel: str
    """POST here cancels it."""


class Job(Frozen):
    """A job as it reads everywhere: on creation, on reading, in lists, in events."""

    id: str
    """`job_` and 32 hexadecimal digits; later ids are larger."""
    object: Literal["job"] = "job"
    """What this is."""
    status: JobStatus
    """The last three are for good."""
    request: dict[str, Any]
    """The resolved request, defaults and seed filled in; posted back it gives the same picture."""
    progress: Progress | None = None
    """How far it is, once it runs."""
    queue: QueuePlace | None = None
    """Where it waits; null unless it is queued."""
    images: list[ImageRecord] = []
    """Its pictures, once it has succeeded."""
    warnings: list[str] = []
    """Sentences on what may not be as the client thinks."""
    error: JobError | None = None
    """Why it failed or was canceled; null if it did not or nobody said."""
    timings: Timings | None = None
    """How long it took, once it has ended."""
    worker: str | None = None
    """Who ran it last."""
    attempts: int = 0
    """How often it was started; more than once after a worker died."""
    memory: str | None = None
    """What was done because memory was short: smaller_group (fewer jobs shared a pass),
    models_evicted (idle models left memory), vae_slicing (pictures decoded one by one), vae_tiling
    (and in tiles, which can leave faint seams), offload (all of the model but what worked waited in
    the host's memory; slow); null if nothing was."""
    priority: Priority = "normal"
    """Which of the three queues of its model it waits in."""
    tags: list[str] = []
    """As the client gave them, or changed them later."""
    starred: bool = False
    """Whether a client marked it, to find it again."""
    metadata: dict[str, Any] = {}
    """As the client gave it."""
    parent_id: str | None = None
    """The job that this one came from."""
    batch_id: str | None = None
    """The batch that it was asked for in."""
    webhook: Webhook | None = None
    """Who is told of it; null if nobody is, or the receiver wanted no more."""
    ttl_s: int | None = None
    """Seconds that it is kept after its end, as the client asked; null: as long as others."""
    created_at: datetime
    """When it was accepted."""
    started_at: datetime | None = None
    """When its last attempt began."""
    finished_at: datetime | None = None
    """When it ended."""
    expires_at: datetime | None = None
    """When it and its pictures are deleted."""

    @property
    def kept(self) -> list[ImageRecord]:
        """The pictures that can be had: not those that were withheld."""
        return [image for image in self.images if image.url]

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's documentation has it
    @property
    def urls(self) -> JobUrls:
        """Where to ask about it."""
        here = f"/api/v1/jobs/{self.id}"
        return JobUrls(**{"self": here}, events=f"{here}/events", cancel=f"{here}/cancel")
