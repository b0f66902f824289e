"""What all classes of fields share, whose values come from clients; used by service and worker,
knows neither HTTP nor torch."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)
from pydantic_core import PydanticCustomError


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not (box[0] < box[2] and box[1] < box[3]):
        raise PydanticCustomError("empty_box", "Must be left, top, right, bottom with an area.")
    return box


def at_most(entries: int, whose: str = "") -> BeforeValidator:
    """Counts the entries of a list before any of them is looked at; `whose` says for whom so many
    are the limit."""
    most = "1 entry" if entries == 1 else f"{entries} entries"

    def check(value: Any) -> Any:
        if isinstance(value, list) and len(value) > entries:
            raise PydanticCustomError("too_many", f"May have at most {most}{whose}.")
        return value

    return BeforeValidator(check)


Fraction = Annotated[float, Strict(), Field(ge=0.0, le=1.0)]
Box = Annotated[
    tuple[Fraction, Fraction, Fraction, Fraction], Field(strict=False), AfterValidator(_corners)
]


def _colour(text: str) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise PydanticCustomError("malformed", "Must be a colour such as #ffffff.")
    return text.lower()


Colour = Annotated[
    str,
    AfterValidator(_colour),
    Field(json_schema_extra={"pattern": "^#[0-9a-fA-F]{6}$"}),
]
"""Red, green and blue, two hexadecimal digits each, in sRGB."""


class Fields(BaseModel):
    """Fields that are frozen, of exact types, and no others. Null is the same as left out."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {k: v for k, v in values.items() if v is not None or k not in cls.model_fields}


def with_nulls(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of such a class, with null beside the type of what may be left out."""
    fields = schema["properties"]
    optional = fields.keys() - {*schema.get("required", ())}
    return {**schema, "properties": fields | {name: _or_null(fields[name]) for name in optional}}


_ABOUT = ("title", "description", "default", "examples")


def _or_null(field: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {k: v for k, v in field.items() if k not in _ABOUT}
    if {"type": "null"} in kinds.get("anyOf", ()):
        return dict(field)
    return {k: v for k, v in field.items() if k in _ABOUT} | {"anyOf": [kinds, {"type": "null"}]}
