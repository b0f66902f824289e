"""Jobs, progress, lists and errors as AUTOMATIC1111's API writes them; in the service only.

Shapes are those of https://github.com/AUTOMATIC1111/stable-diffusion-webui, 1.10.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response

from darkroom.job import Job, JobStatus
from darkroom.offers import Offer
from darkroom.provenance import infotext
from darkroom.queue.newest import Newest
from darkroom.schedulers import NAMES, SCHEDULE_TYPES, short
from service.errors import Fault

PARAMS = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "scheduler": "sampler_name",
    "scheduler_options": "scheduler",
    "scheduler_options/eta": "eta",
    "image_guidance_scale": "image_cfg_scale",
    "num_images": "batch_size",
    "strength": "denoising_strength",
    "clip_skip": "CLIP_stop_at_last_layers",
    "style": "styles",
    "image": "init_images",
    "images": "init_images",
    "mask_image": "mask",
    "controls": "alwayson_scripts/ControlNet",
    "task": "sd_model_checkpoint",
    "model": "sd_model_checkpoint",
    "output": "samples_format",
    "hires": "enable_hr",
    "hires/scale": "hr_scale",
    "hires/strength": "denoising_strength",
    "hires/num_inference_steps": "hr_second_pass_steps",
    "hires/upscaler": "hr_upscaler",
}
"""What native fields are called where pictures are asked for, if that is not the same."""

_SCHEDULE_TYPES = {
    "automatic": "Automatic",
    **SCHEDULE_TYPES,
    "sgm_uniform": "SGM Uniform",
}


def images_body(
    fields: Mapping[str, Any], job: Job, images: Sequence[str], *, with_inputs: bool
) -> dict[str, Any]:
    """The answer of a job that succeeded; `images` are its pictures in base64, `fields` what was
    asked, which is told back."""
    return {
        "images": list(images),
        "parameters": _echo(fields, with_inputs=with_inputs),
        "info": json.dumps(info(job)),
    }


def _echo(fields: Mapping[str, Any], *, with_inputs: bool) -> dict[str, Any]:
    """As there, pictures are told back as null, unless the client asks for them."""
    without = dict.fromkeys(() if with_inputs else ("init_images", "mask"))
    scripts: dict[str, Any] = {"alwayson_scripts": {}}  # which may hold pictures
    told = dict(fields) | {name: None for name in without if name in fields} | scripts
    return {name: _as_json(value) for name, value in told.items()}


def _as_json(value: Any) -> Any:
    """Null for numbers that JSON cannot say: fields that nobody checked may hold them."""
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def info(job: Job) -> dict[str, Any]:
    """What is told of the pictures of a job that has ended."""
    request, kept = job.request, job.kept
    seeds = [image.seed for image in kept]
    prompt, negative = request.get("prompt") or "", request.get("negative_prompt") or ""
    first = kept[0]
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * len(kept),
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * len(kept),
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": first.seed,
        "all_subseeds": seeds,
        "subseed_strength": 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": short(request["scheduler"]),
        "cfg_scale": request.get("guidance_scale"),
        "steps": request["num_inference_steps"],
        "batch_size": len(kept),
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request["model"],
        "sd_model_hash": "",
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": request.get("strength", (request.get("hires") or {}).get("strength")),
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "infotexts": [infotext(request, seed) for seed in seeds],
        "styles": [],
        "job_timestamp": _stamp(job.created_at),
        "clip_skip": (request.get("clip_skip") or 0) + 1,
        "is_using_inpainting_conditioning": False,
        # Not A1111's.
        "job_id": job.id,
        "warnings": job.warnings,
    }


def progress_body(found: Newest, picture: str | None) -> dict[str, Any]:
    """How far the newest job is; `picture`: an early one of it, in base64."""
    job = found.job
    done = job.progress if job else None
    waits = job.queue if job else None
    eta_s = (done and done.eta_s) or (waits and waits.eta_s) or 0.0
    return {
        "progress": done.ratio if done else 0.0,
        "eta_relative": eta_s,
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": job.id if job else "",
            "job_count": found.count,
            "job_timestamp": _stamp(job.created_at if job else datetime.now(UTC)),
            "job_no": 0,
            "sampling_step": done.step if done else 0,
            "sampling_steps": done.steps if done else 0,
        },
        "current_image": picture,
        "textinfo": _doing(job),
    }


def _doing(job: Job | None) -> str | None:
    if job is None:
        return None
    return job.progress.doing if job.progress else str(job.status)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S")


def model_item(name: str) -> dict[str, Any]:
    """A model. What its files are called on some machine is not told."""
    return {
        "title": name,
        "model_name": name,
        "hash": None,
        "sha256": None,
        "filename": name,
        "config": None,
    }


def sampler_items(classes: Iterable[str]) -> list[dict[str, Any]]:
    """Samplers, of these diffusers classes, by the names that A1111 has where it has one."""
    named = {short(each): each for each in classes}
    return [
        {"name": name, "aliases": [cls, *NAMES.get(cls, ())[1:]], "options": {}}
        for name, cls in sorted(named.items())
    ]


def scheduler_items() -> list[dict[str, Any]]:
    """Schedule types."""
    return [
        {
            "name": name,
            "label": label,
            "aliases": None,
            "default_rho": -1.0,
            "need_inner_model": False,
        }
        for name, label in _SCHEDULE_TYPES.items()
    ]


def upscaler_items(models: Iterable[str]) -> list[dict[str, Any]]:
    """What enlarges pictures: nothing, a filter, or one of these models."""
    scales = {"None": 4.0, "Lanczos": 4.0} | dict.fromkeys(models, 4.0)
    return [
        {
            "name": name,
            "model_name": None,
            "model_path": None,
            "model_url": None,
            "scale": scale,
        }
        for name, scale in scales.items()
    ]


def lora_items(offer: Offer) -> list[dict[str, Any]]:
    """LoRAs of a model."""
    return [{"name": n, "alias": n, "path": n, "metadata": {}} for n in offer.loras]


def failure(job: Job) -> Fault:
    """Why a job that has ended brings no picture."""
    if job.status is JobStatus.SUCCEEDED:
        return Fault(400, "safety_blocked", "All pictures were withheld by the safety checker.")
    if job.error is None:
        return Fault(409, "canceled", "Interrupted: the job was canceled before it was done.")
    status = _STATUS.get(job.error.code, 500)
    return Fault(status, job.error.code, job.error.message)


_STATUS = {
    "canceled": 409,
    "unsupported": 422,
    "invalid_parameters": 422,
    "invalid_input_image": 422,
    "safety_blocked": 400,
}
"""By the code of a job's error, where that is not 500."""


def write_error(http: Request, fault: Fault) -> Response:
    """A fault in the shape of this API, with all that is wrong in one text: clients show it."""
    names = PARAMS if http.scope["path"].endswith("2img") else {}
    told = [f"{_named(each.pointer, names)}{each.detail}" for each in fault.errors]
    text = " ".join(dict.fromkeys(told)) or fault.detail
    body = {"error": fault.code, "detail": text, "body": "", "errors": text}
    return Response(json.dumps(body), fault.status, media_type="application/json")


def _named(pointer: str, names: Mapping[str, str]) -> str:
    path = pointer.strip("/").split("/")
    whole = "/".join(path[:2])
    if whole in names:
        return f"{names[whole]}: "
    name = names.get(path[0], path[0])
    return f"{'/'.join((name, *path[1:]))}: " if name else ""
