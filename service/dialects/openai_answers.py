"""Jobs, events and errors as the OpenAI Images API writes them; in the service only.

Shapes are OpenAI's: https://platform.openai.com/docs/api-reference/images
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.sse import format_sse_event

from darkroom.catalog import Catalog
from darkroom.foreign_names import listed
from darkroom.job import ImageRecord, Job, JobStatus
from service.dialects.openai_requests import PARAMS, Asked
from service.errors import Fault

_BASE64_ONLY = ("gpt-image", "chatgpt-image")
"""Models of these names hand out no addresses at OpenAI's, and clients expect none."""
_QUALITIES = {"standard": "medium", "hd": "high", "auto": None}
_FAULTS = {
    "safety_blocked": (400, "content_filtered"),
    "canceled": (409, "canceled"),
    "unsupported": (400, "invalid_value"),
    "invalid_parameters": (400, "invalid_value"),
    "invalid_input_image": (400, "invalid_value"),
}
"""By the code of a job's error: with which status and code it is told; others are 500."""
_CODES = {"unauthenticated": "invalid_api_key", "invalid_parameters": "invalid_value"}
"""By the code of a fault, what OpenAI calls it where it has a word of its own."""
_NO_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}


def wants_base64(asked: Asked) -> bool:
    return asked.response_format != "url"


def wants_url(asked: Asked) -> bool:
    """What is said counts; where nothing is, half of all clients want the one and half the other,
    so they get both, but for models that never had the second."""
    if asked.response_format is None:
        return not (asked.model or "").startswith(_BASE64_ONLY)
    return asked.response_format == "url"


def images_body(asked: Asked, job: Job, data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer of a job that succeeded; `data` holds its pictures."""
    body = {**_created(job), **_about(job.kept[0]), "data": list(data)}
    quality = _quality(asked)
    body |= {"quality": quality} if quality else {}
    return body | ({"warnings": told} if (told := _warnings(job)) else {})


def partial_event(kind: str, asked: Asked, job: Job, index: int, data: str) -> bytes:
    """The event that brings an early picture, the `index`th from 0 on; `kind` as below."""
    width, height = job.request["width"], job.request["height"]
    told = {"type": f"{kind}.partial_image", "b64_json": data, "partial_image_index": index}
    told |= {"created_at": int(job.created_at.timestamp()), "background": "opaque"}
    told |= {"size": f"{width}x{height}" if width and height else "auto"}
    return sse(told | {"output_format": asked.format, "quality": _quality(asked) or "auto"})


def completed_event(kind: str, asked: Asked, job: Job, image: ImageRecord, data: str) -> bytes:
    """The event that brings a finished picture; `kind` is `image_generation` or `image_edit`."""
    created = {"created_at": int(job.created_at.timestamp())}
    told = {"type": f"{kind}.completed", "b64_json": data, **created, **_about(image)}
    quality = _quality(asked) or "auto"
    return sse(told | {"quality": quality, "usage": _NO_TOKENS})


def error_event(fault: Fault) -> bytes:
    """The event that ends a stream in whose head all was well still."""
    return format_sse_event(event="error", data_str=json.dumps(_error(fault)))


def sse(told: Mapping[str, Any]) -> bytes:
    """An event, whose name stands in it as well."""
    return format_sse_event(event=told["type"], data_str=json.dumps(told))


def failure(job: Job) -> Fault | None:
    """Why a job that has ended brings no picture; None if it does."""
    if job.status is JobStatus.SUCCEEDED and job.kept:
        return None
    if job.status is JobStatus.SUCCEEDED:
        code, message = "safety_blocked", "All pictures were withheld by the safety checker."
    elif job.error:
        code, message = job.error.code, job.error.message
    else:
        code, message = "canceled", "The job was canceled before it was done."
    status, told = _FAULTS.get(code, (500, "generation_failed"))
    return Fault(status, told, message)


def models_body(catalog: Catalog, able: Sequence[str]) -> list[dict[str, Any]]:
    """All names by which pictures can be asked for; `able`: of the models that make them."""
    own = [_model(name) for name in able]
    return own + [_model(name, to) for name, to in listed(catalog).items()]


def _model(name: str, to: str | None = None) -> dict[str, Any]:
    shown = {"id": name, "object": "model", "created": 0, "owned_by": "darkroom"}
    return shown | ({"root": to} if to else {})


def model_body(name: str, model: str) -> dict[str, Any]:
    """A model under the name that it was asked by."""
    return _model(name, model if model != name else None)


def write_error(_: Request, fault: Fault) -> Response:
    """A fault in the shape of this API."""
    status = 400 if fault.status == 422 else fault.status
    return Response(json.dumps(_error(fault)), status, media_type="application/json")


def _error(fault: Fault) -> dict[str, Any]:
    first = fault.errors[0] if fault.errors else None
    path = first.pointer.strip("/").split("/") if first else [""]
    path = path[1:] if path[0] in ("query", "path", "header") else path
    param = "output_compression" if path == ["output", "quality"] else PARAMS.get(path[0], path[0])
    code = _CODES.get(fault.code, fault.code)
    if first and first.code == "missing":
        code = "missing_required_parameter"
    told = [f"{_named(e.pointer)}{e.detail}" for e in fault.errors]
    message = " ".join(dict.fromkeys(told)) or fault.detail  # width and height are both `size`
    return {
        "error": {
            "message": message,
            "type": _type(fault.status),
            "param": param or None,
            "code": code,
        }
    }


def _named(pointer: str) -> str:
    path = pointer.strip("/").split("/")
    name = PARAMS.get(path[0], path[0])
    return f"{'/'.join((name, *path[1:]))}: " if name else ""


def _type(status: int) -> str:
    if status in (401, 403):
        return "authentication_error"
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def _created(job: Job) -> dict[str, int]:
    return {"created": int(job.created_at.timestamp())}


def _about(image: ImageRecord) -> dict[str, Any]:
    size = f"{image.width}x{image.height}"
    return {"size": size, "output_format": image.format, "background": "opaque"}


def _quality(asked: Asked) -> str | None:
    """The word that OpenAI's clients know for it; None where nothing is said of it."""
    return _QUALITIES.get(asked.quality, asked.quality)


def _warnings(job: Job) -> list[str]:
    withheld = len(job.images) - len(job.kept)
    lost = [f"{withheld} of {len(job.images)} pictures were withheld."] if withheld else []
    return [*job.warnings, *lost]
