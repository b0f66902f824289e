"""What OpenAPI says beyond signatures: bodies, headers, examples; in the service only."""

import inspect
import json
from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from darkroom.events import EVENTS
from darkroom.fields import with_nulls
from darkroom.job_options import JobMarks, JobOptions
from darkroom.request_parts import Preprocess
from darkroom.tasks import TASKS
from service.batch_documentation import BATCH_SHAPES
from service.examples import ANSWERS
from service.key_documentation import tell_keys
from service.problems import EVERYWHERE, Responses, of_codes
from service.responses import PICTURE, BatchDryRun, DryRun, FieldProblem, Listing, Problem
from service.signatures import SigningWish

DESCRIPTION = """Turns prompts into pictures with latent diffusion models.

`POST /api/v1/jobs` answers at once with a job; poll it, or wait with `Prefer: wait=30`, or follow
its events; then fetch its images. Errors are problem documents (RFC 9457) with a stable `code`.
Every path that answers GET answers HEAD, and OPTIONS tells the methods of a path. Query parameters
and fields that do not exist are refused.
"""

TAGS = [
    {"name": "jobs", "description": "Ask for pictures, follow how they are made, end it."},
    {"name": "images", "description": "Finished pictures."},
    {"name": "files", "description": "Pictures of yours, to be named in requests."},
    {"name": "me", "description": "Who you are here, and what is yours, as a whole."},
    {"name": "signed URLs", "description": "For who has no key, for a while."},
    {"name": "models", "description": "What can be asked for, and of which model."},
    {"name": "webhooks", "description": "What becomes of jobs, told to a server of yours."},
    {"name": "queue", "description": "What waits, and who works."},
    {"name": "operation", "description": "For machines that watch over this one."},
]

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

_MODELS_OWN = (
    "guidance_scale",
    "height",
    "model",
    "negative_prompt",
    "num_images",
    "num_inference_steps",
    "scheduler",
    "strength",
    "width",
)
"""Fields whose default is the model's: no number stands for all of them."""


def _body(task: str) -> dict[str, Any]:
    """The fields of a task. Bounds and defaults are the model's: see `GET /api/v1/models/{id}`."""
    schema = TASKS[task].request.model_json_schema(ref_template=_REF)
    options = JobOptions.model_json_schema(ref_template=_REF)
    fields = schema["properties"] | options["properties"]
    for name in fields.keys() & set(_MODELS_OWN):
        fields[name] = {k: v for k, v in fields[name].items() if k != "default"}
    fields["seed"]["minimum"] = -1
    return {k: v for k, v in schema.items() if k != "$defs"} | {
        "properties": fields,
        "required": list(TASKS[task].required),
    }


def _parts() -> dict[str, Any]:
    """The schemas of bodies, and those that they refer to."""
    parts: dict[str, Any] = {}
    for name, task in TASKS.items():
        parts |= task.request.model_json_schema(ref_template=_REF).get("$defs", {})
        parts[task.request.__name__] = with_nulls(_body(name))
    parts |= BATCH_SHAPES
    parts |= JobOptions.model_json_schema(ref_template=_REF)["$defs"]
    for body in (JobMarks, Preprocess, SigningWish):
        parts[body.__name__] = with_nulls(body.model_json_schema(ref_template=_REF))
    parts["Region"]["properties"]["box"]["items"] = {"type": "number"}  # linters want it
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
        "`GET /api/v1/models/{id}` is exact. A field that is null counts as left out; unknown ones "
        "are refused.",
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": _REF.format(model=task.request.__name__)}
                        for task in TASKS.values()
                    ]
                },
                "examples": _examples(),
            }
        },
    }
}

RETRY_BODY = {
    "requestBody": {
        "required": False,
        "description": "Fields of a body of `POST /api/v1/jobs`, in place of those of the job; "
        "null for what shall be chosen anew.",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {
                    "other": {"summary": "Other pictures", "value": {"seed": None}},
                    "more": {"summary": "With more steps", "value": {"num_inference_steps": 40}},
                },
            }
        },
    }
}

MARKS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model=JobMarks.__name__)},
                "example": {"tags": ["poster"], "starred": True},
            }
        },
    }
}

CONTROL_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model="Preprocess")},
                "example": {"image": TASKS["image-to-image"].example["image"], "width": 64}
                | {"height": 64},
            }
        },
    }
}

SIGNING_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model=SigningWish.__name__)},
                "example": {
                    "paths": ["/api/v1/images/img_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2c"],
                    "expires_s": 3600,
                },
            }
        },
    }
}

CONTROL_PICTURE: Responses = {
    200: {
        "description": "The map, a PNG.",
        "content": {"image/png": PICTURE["image/png"]},
    },
}

_JOB = {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}

PICTURE_OR_JOB: Responses = {
    200: {
        "description": "Done in time: the job, or with `Accept: image/png` its first picture. With "
        "`dry_run=true` what would come of it.",
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [{"$ref": _REF.format(model=name)} for name in ("Job", "DryRun")]
                }
            }
        }
        | PICTURE,
    },
    202: {"description": "Accepted; `Location` leads to the job.", "content": _JOB},
}

JOB_OR_PICTURE: Responses = {
    200: {
        "description": "The job, or with `Accept: image/png` its first picture.",
        "content": _JOB | PICTURE,
    },
    304: {"description": "It is as you have it."},
}

EARLY_PICTURE: Responses = {
    200: {"description": "The picture.", "content": {"image/webp": PICTURE["image/webp"]}},
    204: {"description": "There is none."},
    304: {"description": "It is as you have it."},
}


def _stream(kinds: Iterable[str], besides: str = "") -> dict[str, Any]:
    """What is said of an answer that tells events of these kinds."""
    shapes = {kind: EVENTS[kind].__name__ for kind in kinds}
    return {
        "description": f"A stream of events; `data` is JSON{besides}, by kind of event: "
        + ", ".join(f"`{kind}` `{shape}`" for kind, shape in shapes.items())
        + ".",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "description": "Lines as in the HTML standard, 9.2: `event`, `data`, `id`, "
                    "`retry`, and comments that keep the connection open.",
                    "x-data-of-events": {
                        kind: {"$ref": _REF.format(model=shape)} for kind, shape in shapes.items()
                    },
                },
            }
        },
    }


JOB_EVENTS: Responses = {
    200: _stream(kind for kind in EVENTS if kind != "missed"),
    204: {"description": "The job is done and nothing was missed."},
}
ALL_EVENTS: Responses = {200: _stream(EVENTS, ", with the `job_id` of whose it is")}

_HEADERS = {
    "Accept-Ranges": ("Which ranges can be asked for.", "bytes"),
    "Allow": ("All methods of the path.", "GET, HEAD, OPTIONS, POST"),
    "Content-Disposition": ("A name for the file.", 'inline; filename="img_019a5c6e.png"'),
    "Content-Location": ("The picture that the answer holds.", "/api/v1/images/img_019a5c6e"),
    "Content-Range": ("Which bytes of how many the answer holds.", "bytes 0-1023/20480"),
    "ETag": ("Names this state of it.", '"0f343b0931126a20f133d67c2b018a3b"'),
    "Idempotency-Replayed": ("`true`: the job was made by an earlier request.", "true"),
    "Last-Modified": ("When the picture was stored.", "Fri, 21 Nov 2025 11:29:03 GMT"),
    "Link": (
        'Where to go on: `rel="next"` is the next page, `rel="item"` a picture of the job.',
        '</api/v1/jobs?limit=20&cursor=1763724543000>; rel="next"',
    ),
    "Location": ("The job, or the file.", "/api/v1/jobs/job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"),
    "Preference-Applied": ("The wait that counts, where one was asked for.", "wait=30"),
    "RateLimit": (
        "How many requests are left, and in how many seconds all are.",
        '"default";r=42;t=18',
    ),
    "RateLimit-Policy": ("How many requests a key may make in a minute.", '"default";q=60;w=60'),
    "Retry-After": ("Seconds after which to ask again.", "1"),
    "Vary": ("The headers of a request that the answer depends on.", "Accept, Prefer"),
    "WWW-Authenticate": ("How to send a key.", "Bearer"),
    "X-Request-Id": (
        "An id of the request: yours, where you send one, else a new one.",
        "req_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b",
    ),
}
"""What they say, and an example."""

_JOB_ANSWER = ("ETag", "Preference-Applied", "Vary", "Content-Location", "Link", "Last-Modified")
_PICTURE_ANSWER = ("ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition")
_ACCEPTED = ("Location", "Idempotency-Replayed", *_JOB_ANSWER)
_NO_PICTURE = ("Location", "Preference-Applied", "Vary")

_SENT = {
    ("create_job", "200"): (*_ACCEPTED, "Accept-Ranges", "Content-Disposition"),
    ("create_job", "202"): (*_ACCEPTED[:-3], "Retry-After"),
    ("retry_job", "200"): (*_ACCEPTED, "Accept-Ranges", "Content-Disposition"),
    ("retry_job", "202"): (*_ACCEPTED[:-3], "Retry-After"),
    ("create_batch", "202"): ("Location", "Idempotency-Replayed", "ETag", "Retry-After"),
    ("read_batch", "200"): ("ETag", "Retry-After"),
    ("read_batch", "304"): ("ETag", "Retry-After"),
    ("cancel_batch", "200"): ("ETag",),
    ("cancel_batch", "202"): ("ETag",),
    ("list_jobs", "200"): ("Link",),
    ("list_images", "200"): ("Link",),
    ("list_files", "200"): ("Link",),
    ("upload_file", "200"): ("Location",),
    ("upload_file", "201"): ("Location",),
    ("read_job", "200"): (*_JOB_ANSWER, "Retry-After", "Accept-Ranges", "Content-Disposition"),
    ("read_job", "304"): ("ETag", "Preference-Applied", "Retry-After", "Vary", "Content-Location"),
    ("mark_job", "200"): ("ETag", "Retry-After"),
    ("cancel_job", "200"): ("ETag",),
    ("read_preview", "200"): ("ETag",),
    ("read_preview", "304"): ("ETag",),
    ("cancel_job", "202"): ("ETag",),
    ("read_image", "200"): (*_PICTURE_ANSWER, "Vary"),
    ("read_image", "206"): (*_PICTURE_ANSWER, "Vary", "Content-Range"),
    ("read_image", "304"): ("ETag", "Vary"),
    ("read_image", "406"): ("Vary",),
    ("read_image", "416"): ("Content-Range",),
    ("read_file_content", "200"): _PICTURE_ANSWER,
    ("read_file_content", "206"): (*_PICTURE_ANSWER, "Content-Range"),
    ("read_file_content", "304"): ("ETag",),
    ("read_file_content", "416"): ("Content-Range",),
} | {
    (operation, status): _NO_PICTURE
    for operation in ("create_job", "retry_job", "read_job")
    for status in ("406", "409", "500", "502", "504")
}
"""The headers of an answer, beside those of its status."""

_SENT_WITH = {
    "default": ("Allow", "Retry-After"),
    "401": ("WWW-Authenticate",),
    "429": ("RateLimit", "RateLimit-Policy", "Retry-After"),
    "503": ("Retry-After",),
}


def describe(app: FastAPI, *, asks_for_keys: bool) -> None:
    """Let the OpenAPI document say all that clients may rely on. It is made once."""
    made_by_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema or "servers" not in app.openapi_schema:
            # Parts that several routes share become parts of their own.
            document = json.loads(json.dumps(made_by_fastapi()))
            tell_keys(document, asks_for_keys=asks_for_keys)
            _complete(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _complete(document: dict[str, Any]) -> None:
    document["servers"] = [{"url": "/", "description": "This service."}]
    document["tags"] = TAGS
    components = document["components"]
    components["schemas"] = dict(sorted((components["schemas"] | _parts() | _shapes()).items()))
    for name, schema in components["schemas"].items():
        if name.startswith("Listing_"):
            schema["description"] = inspect.getdoc(Listing)
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["headers"] = {name: _header(*about) for name, about in _HEADERS.items()}
    for operation in _operations(document):
        for parameter in operation.get("parameters", ()):
            _tell_parameter(parameter)
        if "HTTPValidationError" in str(operation["responses"].get("422")):
            operation["responses"]["422"] = of_codes(["invalid_parameters"])
        operation["responses"]["default"] = _ANY_OTHER
        for status, response in operation["responses"].items():
            _tell_answer(operation["operationId"], status, response)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        yield from operations.values()


def _shapes() -> dict[str, Any]:
    """The schemas of problems and events."""
    shapes: list[type[BaseModel]] = [Problem, FieldProblem, DryRun, BatchDryRun, *EVENTS.values()]
    return {
        shape.__name__: {
            k: v
            for k, v in shape.model_json_schema(ref_template=_REF, mode="serialization").items()
            if k != "$defs"
        }
        for shape in shapes
    }


_ANY_OTHER = of_codes(EVERYWHERE)


def _header(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}, "example": example}


def _tell_parameter(parameter: dict[str, Any]) -> None:
    """A parameter that is left out is not null; headers are written as people write them."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind.get("type") != "null"]
    for kind in kinds:
        schema |= kind
    if "examples" in schema:
        parameter["example"] = schema.pop("examples")[0]
    schema.pop("description", None)
    schema.pop("title", None)
    if parameter["in"] == "header":
        parameter["name"] = parameter["name"].title()


def _tell_answer(operation: str, status: str, response: dict[str, Any]) -> None:
    names = {
        "X-Request-Id",
        *_SENT.get((operation, status), ()),
        *_SENT_WITH.get(status, ()),
    }
    response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}
    for kind, content in response.get("content", {}).items():
        if not kind.startswith("image/") and "examples" not in content:
            content["example"] = ANSWERS[operation, status]
