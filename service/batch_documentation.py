"""What OpenAPI says of the bodies and answers of batches; in the service only."""

from typing import Any

from darkroom.batch import MOST_JOBS
from darkroom.tasks import TASKS
from service.problems import Responses

_REF = "#/components/schemas/{model}"
_REQUESTS = [{"$ref": _REF.format(model=task.request.__name__)} for task in TASKS.values()]

BATCH_SHAPES: dict[str, Any] = {
    "JobList": {
        "title": "JobList",
        "description": "Requests that become a batch.",
        "type": "object",
        "properties": {
            "jobs": {
                "description": "Bodies of `POST /api/v1/jobs`.",
                "type": "array",
                "items": {"anyOf": _REQUESTS},
                "minItems": 1,
                "maxItems": MOST_JOBS,
            }
        },
        "required": ["jobs"],
        "additionalProperties": False,
    },
    "JobGrid": {
        "title": "JobGrid",
        "description": "A request whose other fields take each combination of values.",
        "type": "object",
        "properties": {
            "grid": {
                "description": "Lists of values by field, of a request or of the job; the last "
                f"field changes fastest. {MOST_JOBS} combinations at most.",
                "type": "object",
                "additionalProperties": {"type": "array", "items": {}, "minItems": 1},
                "minProperties": 1,
            }
        },
        "required": ["grid"],
        "not": {"required": ["jobs"]},
    },
}
"""Schemas of the two bodies of a batch, by name."""

BATCH_BODY = {
    "requestBody": {
        "required": True,
        "description": "All jobs are accepted or none; what is wrong with one is told with its "
        "place, such as `/jobs/3/width` or `/grid/width/2`.",
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"$ref": _REF.format(model=name)} for name in BATCH_SHAPES]},
                "examples": {
                    "list": {
                        "summary": "Two jobs",
                        "value": {"jobs": [{"prompt": "a red apple"}, {"prompt": "a pear"}]},
                    },
                    "grid": {
                        "summary": "Six jobs: each seed with each guidance",
                        "value": {
                            "prompt": "a red apple",
                            "grid": {"seed": [1, 2, 3], "guidance_scale": [3, 7]},
                        },
                    },
                },
            }
        },
    }
}

BATCH_OR_DRY_RUN: Responses = {
    200: {
        "description": "With `dry_run=true`: what would come of it.",
        "content": {
            "application/json": {"schema": {"$ref": _REF.format(model="BatchDryRun")}},
        },
    },
    202: {"description": "Accepted; `Location` leads to the batch."},
}
