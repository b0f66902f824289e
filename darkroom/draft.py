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

from darkroom.errors import FieldError, InvalidRequestError, UnsupportedError
from darkroom.field_errors import field_errors, pointer
from darkroom.job import JobOptions
from darkroom.offers import Offer
from darkroom.request import Request
from darkroom.tasks import TASKS

_SIZE = frozenset({"width", "height"})
_FILLED_IN = {name for name, each in Request.model_fields.items() if each.is_required()} - {
    "task",
    "model",
}
"""What a draft may lack of every request."""


@dataclass(frozen=True)
class Draft:
    """A checked body."""

    task: str
    values: Mapping[str, Any]
    """The fields of the request as JSON, the task among them; null where a value is not known yet:
    `seed`, and `width` and `height` that follow an input picture."""
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
    if not isinstance(values.get("model"), str):
        raise InvalidRequestError([FieldError(pointer("model"), "Must be a string.", "missing")])
    if any(name in values and values[name] is None for name in _FILLED_IN):
        return Draft(task.name, dict(values))
    try:
        return task.request.model_validate(values)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error)) from None
