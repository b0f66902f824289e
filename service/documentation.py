"""What OpenAPI says beyond signatures: the body of a job and examples; in the service only."""

import inspect
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from darkroom.events import EVENTS
from darkroom.job import JobOptions
from darkroom.tasks import TASKS
from service.responses import PICTURE, PROBLEM, FieldProblem, Problem, problems

DESCRIPTION = """Turns prompts into pictures with latent diffusion models.

`POST /api/v1/jobs` answers at once with a job; poll it, or wait with `Prefer: wait=30`, or follow
its events; then fetch its images. Errors are problem documents (RFC 9457) with a stable `code`.
"""

_CONTROL = {
    "summary": "A picture that follows the edges of another",
    "value": {
        "prompt": "a red apple",
        "controls": [
            {
                "name": "canny",
                "image": TASKS["image-to-image"].example["image"],
                "preprocess": "canny",
            }
        ],
    },
}

_REF = "#/components/schemas/{model}"


def _body(task: str) -> dict[str, Any]:
    """The fields of a task. Bounds and defaults are the model's: see `GET /api/v1/models/{id}`."""
    schema = TASKS[task].request.model_json_schema(ref_template=_REF)
    options = JobOptions.model_json_schema()
    return {k: v for k, v in schema.items() if k != "$defs"} | {
        "properties": schema["properties"] | options["properties"],
        "required": list(TASKS[task].required),
    }


def _parts() -> dict[str, Any]:
    """The schemas that bodies refer to."""
    parts: dict[str, Any] = {}
    for task in TASKS.values():
        parts |= task.request.model_json_schema(ref_template=_REF).get("$defs", {})
    return parts


def _examples() -> dict[str, Any]:
    """One body for each task, and one for ControlNets."""
    examples: dict[str, Any] = {
        name: {"summary": inspect.getdoc(task.request), "value": dict(task.example)}
        for name, task in TASKS.items()
    }
    return examples | {"control": _CONTROL}


JOB_BODY = {
    "requestBody": {
        "required": True,
        "description": "Bounds and defaults are the model's: `schemas` of "
        "`GET /api/v1/models/{id}` is exact. Unknown fields are refused.",
        "content": {
            "application/json": {
                "schema": {"anyOf": [_body(task) for task in TASKS]},
                "examples": _examples(),
            }
        },
    }
}

_JOB = {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}
_FAILED = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}

_NO_PICTURE: dict[int | str, dict[str, Any]] = {
    409: {"description": "Only with `Accept: image/png`: it was canceled.", "content": _FAILED},
    502: {"description": "Only with `Accept: image/png`: it failed.", "content": _FAILED},
    504: {"description": "Only with `Accept: image/png`: its deadline.", "content": _FAILED},
}

PICTURE_OR_JOB: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Done in time: the job, or with `Accept: image/png` its first picture.",
        "content": _JOB | PICTURE,
    },
    202: {"description": "Accepted; `Location` leads to the job.", "content": _JOB},
    **_NO_PICTURE,
}

JOB_OR_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The job, or with `Accept: image/png` its first picture.",
        "content": _JOB | PICTURE,
    },
    304: {"description": "It is as you have it."},
    **_NO_PICTURE,
}

JOB_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A stream of events; `data` is JSON, by kind of event: "
        + ", ".join(f"`{kind}` `{shape.__name__}`" for kind, shape in EVENTS.items())
        + ".",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: progress\ndata: {"stage":"denoise","step":3,"steps":20}\n'
                "id: 1763724543000-0\n\n",
            }
        },
    },
    204: {"description": "The job is done and nothing was missed."},
}


def describe(app: FastAPI) -> None:
    """Let the OpenAPI document show problem documents where FastAPI shows its own errors."""
    made_by_fastapi = app.openapi
    shapes: list[type[BaseModel]] = [Problem, FieldProblem, *EVENTS.values()]

    def openapi() -> dict[str, Any]:
        document = made_by_fastapi()
        schemas = document["components"]["schemas"]
        if "Problem" in schemas:
            return document
        schemas |= _parts()
        for shape in shapes:
            schema = shape.model_json_schema(ref_template=_REF)
            schemas.setdefault(shape.__name__, {k: v for k, v in schema.items() if k != "$defs"})
        for operations in document["paths"].values():
            for operation in operations.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    operation["responses"]["422"] = problems(422)[422]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it
