"""What is wrong with a body, field by field; used by service and worker, knows neither HTTP nor
torch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from darkroom.errors import FieldError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SENTENCES = {
    "extra_forbidden": "There is no such field.",
    "missing": "This field is required.",
    "finite_number": "Must be a finite number.",
}


def field_errors(error: ValidationError) -> list[FieldError]:
    """Per wrong field a JSON pointer (RFC 6901) and a sentence; never the input itself, which may
    be private."""
    errors = [_field_error(e) for e in error.errors(include_url=False, include_input=False)]
    # A list with a wrong entry is also said to be too short, as if the entry were not there.
    parents = {parent for each in errors for parent in _parents(each.pointer)}
    return [each for each in errors if each.pointer not in parents]


def pointer(*path: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _parents(pointer: str) -> Iterator[str]:
    """What a field stands in, up to the whole body."""
    while pointer:
        pointer = pointer.rpartition("/")[0]
        yield pointer


def _field_error(error: "ErrorDetails") -> FieldError:
    where = [str(part) for part in error["loc"] if not _is_union_branch(part)]
    if error["type"] == "too_many_pixels":
        where = ["width"]
    return FieldError(pointer(*where), _SENTENCES.get(error["type"], error["msg"]), error["type"])


def _is_union_branch(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith(("constrained-", "function-"))
