"""What a body is once it was checked, and what a job keeps of it; used by service and worker, knows
neither HTTP nor torch.

A draft may still lack what only the model or an input picture can tell; `completed` in
validation.py makes a request of it, in the service or, where nobody knew the model yet, in the
worker. Both are stored as JSON by `stored` and come back by `load_request`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from darkroom.errors import InvalidRequestError, UnsupportedError
from darkroom.field_errors import field_errors
from darkroom.job_options import JobOptions
from darkroom.offers import Offer
from darkroom.request import Request
from darkroom.tasks import TASKS, Task

_SIZE = frozenset({"width", "height"})
_OPEN = {
    "width": 1,
    "height": 1,
    "num_inference_steps": 1,
    "scheduler": "",
    "seed": 0,
    "num_images": 1,
}
"""What a draft may lack of every request, and what stands in for it while the rest is checked."""


@dataclass(frozen=True)
class Draft:
    """A checked body."""

    task: str
    values: Mapping[str, Any]
    """The fields of the request as JSON, the task among them. Null where a value is not known yet:
    a seed that is not drawn, a size that follows an input picture, and whatever only the model can
    tell, while nobody knows it. Nothing in it is a guess."""
    options: JobOptions = field(default_factory=JobOptions)
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """The model's own name."""
        return str(self.values["model"])


def stored(asked: Draft | Request, offer: Offer) -> dict[str, Any]:
    """What a job keeps: JSON of the size and of just the fields that the model takes. Only these
    are told to clients, written into pictures and accepted when they are posted back."""
    kept = _SIZE | offer.takes(asked.task)
    if isinstance(asked, Draft):
        return {name: value for name, value in asked.values.items() if name in kept}
    return asked.model_dump(mode="json", include=set(kept))


def load_request(values: Mapping[str, Any]) -> Draft | Request:
    """What `stored` wrote, checked again; fields that the model does not take have the values that
    change nothing. A draft if something of the request is not known yet.

    Raises UnsupportedError for an unknown task, InvalidRequestError."""
    task = TASKS.get(str(values.get("task")))
    if task is None:
        raise UnsupportedError(f"The task {str(values.get('task'))[:50]!r} is not known here.")
    lacking = _stand_ins(task, values)
    try:
        request = task.request.model_validate({**values, **lacking})
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, task.request)) from None
    return Draft(task.name, dict(values)) if lacking else request


def _stand_ins(task: Task, values: Mapping[str, Any]) -> dict[str, Any]:
    """For what is null in a draft and not in a request, what stands in for it while the rest is
    checked: what changes nothing, where a field has that."""
    usual = {
        name: field.default
        for name, field in task.request.model_fields.items()
        if not field.is_required() and field.default is not None
    }
    stand_ins = usual | _OPEN
    return {name: each for name, each in stand_ins.items() if values.get(name, each) is None}
