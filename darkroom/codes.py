"""Every code by which clients tell errors apart, and whether a repeat can help; used by service and
worker, knows neither HTTP nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """What a code means. `retryable`: the same request may succeed later, as it is."""

    meaning: str
    retryable: bool = False


CODES: Mapping[str, Code] = {
    "batch_not_found": Code("No batch has this id, or none of its jobs is kept any more."),
    "busy": Code("The service has all the connections, waits or bodies that it takes.", True),
    "canceled": Code("A client canceled the job."),
    "cross_site": Code("A page of another site asked for a change."),
    "deadline_exceeded": Code("The job's deadline passed before it was done.", True),
    "decoders_busy": Code("All places where input pictures are decoded are taken.", True),
    "dependency_unavailable": Code("Something that the service needs is away, or short.", True),
    "expired": Code("It existed; its retention has passed, or it was one of too many."),
    "file_not_found": Code("No file has this id."),
    "files_full": Code("The files of the API key take all the room that they may."),
    "forbidden": Code("The API key does not have the scope that this needs."),
    "gpu_budget_spent": Code(
        "The job would take more GPU seconds than the API key has left of this day.", True
    ),
    "head_too_large": Code("The head of the request is too large."),
    "http_version_not_supported": Code("Only HTTP/1.0 and HTTP/1.1 are spoken."),
    "idempotency_mismatch": Code("The Idempotency-Key was used before, with another body."),
    "image_not_found": Code("No picture has this id."),
    "internal": Code("Something failed that nobody foresaw; the log says what."),
    "invalid_input_image": Code("An input picture cannot be read."),
    "invalid_output": Code("The model made no picture, but numbers that are none."),
    "invalid_parameters": Code("Fields or parameters are wrong; `errors` names each."),
    "job_not_found": Code("No job has this id."),
    "lora_not_found": Code("No LoRA of this name was uploaded for the model."),
    "malformed_job": Code("What is stored of the job cannot be read."),
    "malformed_request": Code("The body is no JSON object in UTF-8."),
    "message_not_found": Code("No message of a webhook that was given up has this id."),
    "method_not_allowed": Code("The path has no such method; `Allow` names those it has."),
    "misdirected_request": Code("The host that was asked is none of the service's names."),
    "model_load_failed": Code("The model cannot be loaded."),
    "model_not_found": Code("No model has this name; `near` holds those most like it."),
    "not_acceptable": Code("The picture is of another format than `Accept` asks for."),
    "not_found": Code("There is no such path."),
    "out_of_memory": Code(
        "Too little memory, even alone and in parts; if told as not retryable (502), for ever.",
        True,
    ),
    "overload": Code("Too much is asked at once.", True),
    "payload_too_large": Code("The body is larger than is read."),
    "picture_not_ready": Code("The job goes on; ask again for its picture.", True),
    "poison": Code("The worker died each time that the job was started."),
    "precondition_failed": Code("It is in another state than `If-Match` says."),
    "queue_full": Code("As many jobs wait as may.", True),
    "queue_unavailable": Code("Redis is away, or full.", True),
    "range_not_satisfiable": Code("`Range` asks for no part of the picture."),
    "rate_limited": Code("The API key has made its requests of this minute.", True),
    "request_timeout": Code("The request came too slowly.", True),
    "safety_blocked": Code("All pictures were withheld by the safety checker."),
    "shutting_down": Code("The service ends; the job goes on: follow it again.", True),
    "store_unavailable": Code("The image store cannot be used.", True),
    "too_many_active_jobs": Code(
        "As many jobs of the API key are queued or running as may be.", True
    ),
    "too_many_at_once": Code("One address has as many connections or waits as may be.", True),
    "too_many_queued_jobs": Code("As many jobs of the API key are queued as may be.", True),
    "unauthenticated": Code("There is no API key, or none that is valid."),
    "unsupported": Code("The model cannot do what was asked."),
    "unsupported_media_type": Code("The body is no JSON, compressed, or not in UTF-8."),
    "uploads_off": Code("Nobody may upload LoRAs; `DARKROOM_LORA_UPLOADS` would allow it."),
    "webhooks_off": Code("Nobody is told of jobs; `DARKROOM_WEBHOOKS` would allow it."),
    "worker_not_found": Code("No worker of this name lives."),
}
"""By the `code` of problem documents, of a job's `error` and of the event `error`. The codes of
single fields are in field_errors.py."""


def retryable(code: str) -> bool:
    """Whether the same request may succeed later; false for a code that is not listed."""
    return code in CODES and CODES[code].retryable
