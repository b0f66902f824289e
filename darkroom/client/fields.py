"""What can be asked for, as types that editors know; the service checks it, nobody here does."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from darkroom.hires import Hires
from darkroom.job import Priority
from darkroom.request import Output
from darkroom.request_parts import Control, Lora, Padding, Region
from darkroom.schedulers import SchedulerOptions
from darkroom.webhook import Webhook

_Fields = Mapping[str, Any]
"""An object as JSON has it."""


class JobFields(TypedDict, total=False):
    """What can be said of a job: docs/api.md, "Options"."""

    priority: Priority
    tags: Sequence[str]
    metadata: Mapping[str, str]
    deadline_s: float | None
    preview: bool | int | None
    ttl_s: int | None
    style: str | None
    webhook: Webhook | _Fields | None


class RequestFields(JobFields, total=False):
    """What can be asked for, by any task: docs/api.md, "Request"."""

    task: str
    model: str
    width: int
    height: int
    num_inference_steps: int
    scheduler: str
    scheduler_options: SchedulerOptions | _Fields
    seed: int | None
    num_images: int
    output: Output | _Fields
    deterministic: bool
    prompt: str
    negative_prompt: str
    guidance_scale: float
    guidance_rescale: float
    clip_skip: int
    loras: Sequence[Lora | _Fields]
    reference_images: Sequence[str]
    reference_scale: float
    controls: Sequence[Control | _Fields]
    image: str
    background: str
    strength: float
    hires: Hires | _Fields | None
    mask_image: str | None
    mask_blur: int
    padding_mask_crop: int | None
    padding: Padding | _Fields
    images: Sequence[str]
    image_guidance_scale: float | None
    layers: int | None
    noise_level: int
    regions: Sequence[Region | _Fields]
    class_label: int
