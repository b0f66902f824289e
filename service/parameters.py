"""Query parameters: those that a route does not know are refused, as unknown fields of a body are;
in the service only."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from pydantic_core import PydanticKnownError

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import pointer
from darkroom.near_names import did_you_mean

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
"""As JSON writes it, but for zeros in front."""


def _in_digits(fault: Literal["int_parsing", "float_parsing"]) -> BeforeValidator:
    """Refuses what Python alone takes for a number: `1_0`, ` 5`, `+5`, `nan`."""

    def check(text: Any) -> Any:
        if isinstance(text, str) and not _NUMBER.fullmatch(text):
            raise PydanticKnownError(fault)
        return text

    return BeforeValidator(check)


WHOLE_NUMBER = _in_digits("int_parsing")
NUMBER = _in_digits("float_parsing")
"""What a parameter that is a number is checked for before pydantic reads it."""


def _true_or_false(text: Any) -> Any:
    """Refuses what pydantic alone takes for it: `yes`, `on`, `1`."""
    if isinstance(text, str) and text not in ("true", "false"):
        raise PydanticKnownError("bool_parsing")
    return text


TRUE_OR_FALSE = BeforeValidator(_true_or_false)


async def refuse_others(http: Request) -> None:
    """A dependency of every route. A parameter that is not read would leave its client with
    another answer than was asked for: all jobs, say, where `tag` was written `tags`.

    Raises InvalidRequestError."""
    route = http.scope.get("route")
    if http.query_params and isinstance(route, APIRoute):
        names = [name for name, _ in http.query_params.multi_items()]
        if faults := list(_faults(names, frozenset(_names(route.dependant)))):
            raise InvalidRequestError(faults)


def _names(dependant: Dependant) -> Iterator[str]:
    """The query parameters that a route reads, or what it depends on."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for other in dependant.dependencies:
        yield from _names(other)


def _faults(names: list[str], known: frozenset[str]) -> Iterator[FieldError]:
    for name, count in Counter(names).items():
        where = pointer("query", name)
        if name not in known:
            told = "There is no such query parameter." + did_you_mean(name, known)
            yield FieldError(where, told, "unknown_parameter")
        elif count > 1:
            yield FieldError(where, "Is given more than once.", "duplicate")
