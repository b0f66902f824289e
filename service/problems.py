"""Every problem that the API answers with, by its code, and what OpenAPI says of them.

In the service only. errors.py writes them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from darkroom.codes import CODES, retryable

PROBLEM = "application/problem+json"

Responses = dict[int | str, dict[str, Any]]
"""What OpenAPI says of the answers of a route, by status."""


@dataclass(frozen=True)
class Told:
    """How a code is told: with which status, and a sentence that may come with it."""

    status: int
    detail: str


TOLD: dict[str, Told] = {
    "malformed_request": Told(400, "The body must be a JSON object."),
    "unauthenticated": Told(401, "This is no API key that is valid here."),
    "cross_site": Told(403, "Pages of http://example.org may not change anything here."),
    "forbidden": Told(403, "This needs an API key with the scope submit."),
    "uploads_off": Told(403, "Nobody may upload LoRAs here; DARKROOM_LORA_UPLOADS would allow it."),
    "webhooks_off": Told(403, "There are no webhooks here; DARKROOM_WEBHOOKS would allow them."),
    "not_found": Told(404, "There is no such path; GET / says where everything is."),
    "job_not_found": Told(404, "No job has this id."),
    "batch_not_found": Told(404, "No batch has this id."),
    "image_not_found": Told(404, "No image has this id."),
    "model_not_found": Told(404, "No model is called 'emoj'. Did you mean emoji?"),
    "worker_not_found": Told(404, "No worker that lives is called 'studio-2'."),
    "lora_not_found": Told(404, "No LoRA 'ink' was uploaded for this model."),
    "file_not_found": Told(404, "No file has the id 'file_0f343b0931126a20'."),
    "message_not_found": Told(404, "No message that was given up has this id."),
    "method_not_allowed": Told(
        405, "The path has no such method; the header Allow names those it has."
    ),
    "not_acceptable": Told(
        406, "The picture is png: accept that, or ask for another `output.format`."
    ),
    "picture_not_ready": Told(
        406,
        "The job is running, its picture is not finished. The job goes on: ask for "
        "/api/v1/jobs/job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b?wait=60 with the same Accept.",
    ),
    "request_timeout": Told(408, "The body comes too slowly."),
    "canceled": Told(409, "The job was canceled before it was done."),
    "files_full": Told(409, "Your files take 1023.2 of 1024 MiB; delete some first."),
    "expired": Told(410, "The job's retention has passed."),
    "precondition_failed": Told(
        412, "It is in another state than your request says; read it again."
    ),
    "payload_too_large": Told(413, "A request body may hold at most 33554432 bytes."),
    "unsupported_media_type": Told(
        415, "Send JSON with the header 'Content-Type: application/json'."
    ),
    "range_not_satisfiable": Told(416, "The header Range asks for no part of these 20480 bytes."),
    "misdirected_request": Told(421, "This service is not called example.org."),
    "idempotency_mismatch": Told(
        422,
        "This idempotency key belongs to another body, that of job_019a5c6e7f1a7c3e8d2b4a6c.",
    ),
    "invalid_input_image": Told(422, "The input picture cannot be read."),
    "invalid_parameters": Told(422, "/num_inference_steps: Must be at least 1."),
    "safety_blocked": Told(422, "All pictures were withheld."),
    "unsupported": Told(422, "The model has no such scheduler."),
    "overload": Told(429, "Too much is asked."),
    "queue_full": Told(429, "1000 jobs are queued, which is all that may wait."),
    "too_many_active_jobs": Told(429, "20 of your jobs are queued or running."),
    "too_many_queued_jobs": Told(429, "10 of your jobs are queued, as many as may be."),
    "rate_limited": Told(429, "This API key may make 60 requests a minute."),
    "gpu_budget_spent": Told(
        429,
        "12.5 of your 3600 GPU seconds of this day (UTC) are left; this job takes about 40.0.",
    ),
    "too_many_at_once": Told(429, "Too many connections come from your address."),
    "head_too_large": Told(431, "The head is too large."),
    "internal": Told(500, "Something failed here; quote the request_id."),
    "invalid_output": Told(502, "The picture holds invalid numbers."),
    "malformed_job": Told(502, "The job cannot be read."),
    "model_load_failed": Told(502, "The model could not be loaded."),
    "poison": Told(502, "Five attempts ended with their worker."),
    "busy": Told(503, "The service has as many connections as it may."),
    "decoders_busy": Told(503, "Other pictures are being decoded; send it again soon."),
    "dependency_unavailable": Told(503, "Try again soon."),
    "out_of_memory": Told(503, "The job did not fit into the device's memory."),
    "shutting_down": Told(503, "The service is shutting down. Jobs go on: follow them again."),
    "queue_unavailable": Told(503, "The queue cannot be used now; try again soon."),
    "store_unavailable": Told(503, "The image store cannot be used now; try again soon."),
    "deadline_exceeded": Told(504, "The deadline passed before the job was done."),
    "http_version_not_supported": Told(505, "Send HTTP/1.1 or HTTP/1.0."),
}
"""By code, in the order of their statuses."""

EVERYWHERE = (
    "malformed_request",
    "cross_site",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "payload_too_large",
    "misdirected_request",
    "invalid_parameters",
    "too_many_at_once",
    "head_too_large",
    "internal",
    "busy",
    "dependency_unavailable",
    "http_version_not_supported",
)
"""What any path may answer, whatever it is about."""

NO_PICTURE = (
    "picture_not_ready",
    "not_acceptable",
    "canceled",
    "safety_blocked",
    "unsupported",
    "invalid_input_image",
    "internal",
    "invalid_output",
    "malformed_job",
    "model_load_failed",
    "poison",
    "out_of_memory",
    "store_unavailable",
    "deadline_exceeded",
)
"""What a client may get that takes nothing but the picture of a job."""

_JOB = "job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"
_URL = f"/api/v1/jobs/{_JOB}"
_MORE: dict[str, dict[str, Any]] = {
    "model_not_found": {"near": ["emoji"]},
    "invalid_parameters": {
        "errors": [
            {
                "pointer": "/num_inference_steps",
                "detail": "Must be at least 1.",
                "code": "out_of_range",
            }
        ]
    },
}


def problems(*codes: str) -> Responses:
    """What OpenAPI says of these problems as answers of a route."""
    told = sorted(codes, key=lambda code: TOLD[code].status)
    return {
        status: of_codes(list(group))
        for status, group in groupby(told, lambda code: TOLD[code].status)
    }


def of_codes(codes: Iterable[str]) -> dict[str, Any]:
    """One answer that is one of several problems."""
    codes = list(codes)
    return {
        "description": "\n\n".join(f"`{code}`: {CODES[code].meaning}" for code in codes),
        "content": {
            PROBLEM: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"value": example(code)} for code in codes},
            }
        },
    }


def example(code: str) -> dict[str, Any]:
    """A problem document with this code."""
    told = TOLD[code]
    return {
        "type": f"urn:darkroom:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": told.status,
        "detail": told.detail,
        "instance": "/api/v1/jobs",
        "code": code,
        "retryable": retryable(code),
        "request_id": "req_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b",
        "errors": [],
        **_MORE.get(code, {}),
        **(_job() if code in NO_PICTURE[:1] else {}),
    }


def _job() -> dict[str, Any]:
    urls = {"self": _URL, "events": f"{_URL}/events", "cancel": f"{_URL}/cancel"}
    return {"job": _JOB, "urls": urls}
