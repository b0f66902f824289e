"""Models, files and errors as Replicate's API writes them; in the service only.

Predictions are written in darkroom/predictions.py, for webhooks too.
"""

import json
from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response

from darkroom.errors import FieldError
from darkroom.kept_file import KeptFile
from darkroom.offers import Offer
from darkroom.predictions import FIELDS, OWNER, PREFIX
from service.dialects.replicate_requests import Input
from service.errors import Fault
from service.problems import PROBLEM

_NAMES = {
    **FIELDS,
    "images": "image",
    "output": "output_format",
    "deadline_s": "Cancel-After",
    "model": "version",
}
"""What native fields are called here, where that is not the same."""
_NO_INPUTS = frozenset(
    {"version", "input", "webhook", "webhook_events_filter", "content", "Cancel-After"}
)
"""Names that stand beside the inputs."""


_A_URI = {"type": "string", "format": "uri"}
_NO_DATE = "1970-01-01T00:00:00Z"
"""Nobody knows when a model came."""
_COG = "0.16.0"
"""Of the tool that models are packed with there; clients read schemas by it."""


def model_body(name: str, offer: Offer, root: str, told: Sequence[str] = ()) -> dict[str, Any]:
    """A model under its name, perhaps with LoRAs behind it, with its one version, whose id is that
    name too. `root`: the address of the service; `told`: what else is to be said of it."""
    nothing = ("github_url", "paper_url", "license_url", "cover_image_url", "default_example")
    return {
        "url": f"{root}{PREFIX}/models/{OWNER}/{name}",
        "owner": OWNER,
        "name": name,
        "description": " ".join((*told, f"Does {', '.join(offer.tasks)}.")),
        "visibility": "private",
        "run_count": 0,
        "latest_version": {
            "id": name,
            "created_at": _NO_DATE,
            "cog_version": _COG,
            "openapi_schema": _schema(offer),
        },
        **dict.fromkeys(nothing),
    }


def file_body(file: KeptFile, root: str) -> dict[str, Any]:
    """A file that a client keeps; what it was called is not kept."""
    return {
        "id": file.id,
        "name": f"{file.id}.{file.format}",
        "content_type": f"image/{file.format}",
        "size": file.bytes,
        "etag": file.sha256,
        "checksums": {"sha256": file.sha256},
        "metadata": {},
        "created_at": file.created_at.isoformat().replace("+00:00", "Z"),
        "expires_at": file.expires_at.isoformat().replace("+00:00", "Z"),
        "urls": {"get": f"{root}{PREFIX}/files/{file.id}"},
    }


def _schema(offer: Offer) -> dict[str, Any]:
    """What a model takes and gives, with its own values for what is left out."""
    inputs = Input.model_json_schema()
    usual = {
        "width": offer.width,
        "height": offer.height,
        "num_inference_steps": offer.steps,
        "guidance_scale": offer.guidance,
        "scheduler": offer.scheduler,
    }
    for name, value in usual.items():
        inputs["properties"][name] |= {"default": value}
    inputs["properties"] |= {"image": _A_URI, "mask": _A_URI}
    output = {"type": "array", "items": _A_URI, "title": "Output"}
    return {
        "openapi": "3.1.0",
        "info": {"title": OWNER, "version": "1"},
        "paths": {},
        "components": {"schemas": {"Input": inputs, "Output": output}},
    }


def write_error(_: Request, fault: Fault) -> Response:
    """A fault in the shape of this API; clients show its `detail`."""
    told: dict[str, Any] = {
        "type": f"urn:darkroom:error:{fault.code}",
        "title": fault.code.replace("_", " ").capitalize(),
        "detail": "\n".join(map(_sentence, fault.errors)) or fault.detail,
        "status": fault.status,
    }
    if fault.errors:
        told["invalid_fields"] = [
            {"field": _name(each), "type": each.code, "description": each.detail}
            for each in fault.errors
        ]
    return Response(json.dumps(told), fault.status, media_type=PROBLEM)


def _sentence(error: FieldError) -> str:
    return f"{name}: {error.detail}" if (name := _name(error)) else error.detail


def _name(error: FieldError) -> str:
    """`input.prompt`, by the names that clients of this API use."""
    path = [each for each in error.pointer.split("/") if each]
    if path and path[0] in ("input", "header", "query", "path"):
        where, *rest = path
        return ".".join([*([where] if where == "input" else []), *rest])
    if not path:
        return ""
    first = _NAMES.get(path[0], path[0])
    if first in _NO_INPUTS:
        return ".".join([first, *path[1:]])
    return ".".join(["input", first, *path[1:]])
