"""Jobs, models and errors as Google's API of pictures writes them; in the service only.

Errors have the shape that all of Google's APIs have: https://google.aip.dev/193
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import Request, Response

from darkroom import named_loras
from darkroom.catalog import Catalog
from darkroom.foreign_names import GOOGLE, listed
from darkroom.job import ImageRecord, Job
from service.errors import Fault
from service.negotiation import no_picture

Shown = Iterable[tuple[ImageRecord, str]]
"""Pictures, each with its file in base64."""

_METHODS = {
    "predict": {"text-to-image"},
    "generateContent": {"text-to-image", "image-to-image", "edit"},
}
"""With the tasks that can be asked for by it."""

_STATUSES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    410: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""INVALID_ARGUMENT for others below 500, else INTERNAL."""
_IMAGES = "generationConfig.imageConfig"
_NAMES = {
    "predict": {
        "prompt": "instances[0].prompt",
        "num_images": "parameters.sampleCount",
        "width": "parameters.aspectRatio",
        "height": "parameters.aspectRatio",
        "negative_prompt": "parameters.negativePrompt",
        "guidance_scale": "parameters.guidanceScale",
        "seed": "parameters.seed",
        "output": "parameters.outputOptions",
    },
    "generateContent": {
        "prompt": "contents",
        "image": "contents",
        "images": "contents",
        "num_images": "generationConfig.candidateCount",
        "width": f"{_IMAGES}.aspectRatio",
        "height": f"{_IMAGES}.aspectRatio",
        "seed": "generationConfig.seed",
        "output": f"{_IMAGES}.imageOutputOptions",
    },
}
"""What native fields are called, by the method; the task follows from the model."""


def failure(job: Job) -> Fault | None:
    """Why a job that has ended brings no picture; None if it does."""
    if job.kept:
        return None
    fault = no_picture(job)
    if fault.code == "canceled":
        return replace(fault, status=499)
    # 502 and 503 ask to come again.
    return replace(fault, status=500 if fault.status in (502, 503) else fault.status)


def predictions(job: Job, shown: Shown) -> dict[str, Any]:
    """The answer of `:predict`."""
    made = [
        {"mimeType": f"image/{image.format}", "bytesBase64Encoded": data} for image, data in shown
    ]
    return {"predictions": made} | _told(job)


def candidates(job: Job, shown: Shown) -> dict[str, Any]:
    """The answer of `:generateContent`: each picture is a candidate."""
    made = [
        {
            "content": {
                "role": "model",
                "parts": [{"inlineData": {"mimeType": f"image/{image.format}", "data": data}}],
            },
            "finishReason": "STOP",
            "index": index,
        }
        for index, (image, data) in enumerate(shown)
    ]
    about = {"modelVersion": job.request["model"], "responseId": job.id}
    return {"candidates": made} | about | _told(job)


def models_body(catalog: Catalog, able: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """All names by which pictures can be asked for. `able`: by which methods, of each model."""
    names = {name: name for name in able} | listed(catalog, GOOGLE)
    methods = {name: able[named_loras.find(catalog, to)[0].name] for name, to in names.items()}
    return {"models": [model_body(name, they) for name, they in methods.items() if they]}


def methods_of(tasks: Sequence[str]) -> list[str]:
    """By which methods a model can be asked that does these tasks."""
    return [method for method, able in _METHODS.items() if able.intersection(tasks)]


def model_body(name: str, methods: Sequence[str]) -> dict[str, Any]:
    """A model under one of its names."""
    about = {"name": f"models/{name}", "displayName": name, "version": ""}
    return about | {"supportedGenerationMethods": list(methods)}


def write_error(http: Request, fault: Fault) -> Response:
    """A fault in the shape of this API."""
    status = 400 if fault.status == 422 else fault.status
    method = http.scope.get("path", "").rpartition(":")[2]
    wrong = [(_field(method, each.pointer), each.detail) for each in fault.errors]
    told = [f"{field}: {detail}" if field else detail for field, detail in wrong]
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": fault.code.upper(),
            "domain": "darkroom",
        }
    ]
    if wrong:
        violations = [{"field": field, "description": detail} for field, detail in wrong]
        kind = "type.googleapis.com/google.rpc.BadRequest"
        details.append({"@type": kind, "fieldViolations": violations})
    error = {
        "code": status,
        "message": " ".join(dict.fromkeys(told)) or fault.detail,  # both sides are the ratio
        "status": _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL"),
        "details": details,
    }
    return Response(json.dumps({"error": error}), status, media_type="application/json")


def _field(method: str, pointer: str) -> str:
    """Where a field stands, as Google writes it: `contents[0].parts[1].inlineData`."""
    first, *rest = pointer.strip("/").split("/")
    if native := _NAMES.get(method, {}).get(first):
        return native
    return first + "".join(f"[{each}]" if each.isdecimal() else f".{each}" for each in rest)


def _told(job: Job) -> dict[str, Any]:
    withheld = len(job.images) - len(job.kept)
    lost = [f"{withheld} of {len(job.images)} pictures were withheld."] if withheld else []
    warnings = [*job.warnings, *lost]
    return {"warnings": warnings} if warnings else {}
