"""What is wrong with a body, field by field; used by service and worker, knows neither HTTP nor
torch."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from darkroom.errors import MOST_ERRORS, FieldError
from darkroom.near_names import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CODES = {
    "character": "Text holds a character that does no good: a control character, half of a "
    "surrogate pair, or, in names and tags, one that turns the direction of writing.",
    "duplicate": "The same field, or the same query parameter, is given twice.",
    "empty_box": "A box has no area.",
    "empty_range": "A range ends before it begins.",
    "fixed_size": "The size follows from something else and cannot be chosen.",
    "invalid": "The value is wrong in a way that has no code of its own.",
    "invalid_input_image": "A picture cannot be read.",
    "malformed": "Text is not of the form that it must have.",
    "missing": "A required field is left out.",
    "more": "More is wrong than is told here.",
    "not_a_multiple": "A number must be a multiple of another one.",
    "not_finite": "A number is infinite or none.",
    "not_one_of": "The value is none of those that there are.",
    "out_of_range": "A number is too small or too large.",
    "too_deep": "Objects or lists lie too deep in one another.",
    "too_few": "A list has too few entries.",
    "too_long": "Text has too many characters, or a number too many digits.",
    "too_many": "A list or an object has too many entries.",
    "too_many_pixels": "Width times height is too large.",
    "too_much_work": "It takes more GPU seconds than the API key may take in a day.",
    "too_short": "Text has too few characters.",
    "unfit_picture": "The model cannot work from a picture of this shape.",
    "unknown_field": "There is no such field.",
    "unknown_parameter": "There is no such query parameter.",
    "unsupported_field": "The model or the task takes no such field.",
    "unsupported_task": "The model does no such task.",
    "wrong_type": "The value is of another JSON type than the field.",
}
"""Every `code` of an entry in `errors`, and what it means."""

_WORDS: dict[str, tuple[str, str]] = {
    "missing": ("missing", "This field is required."),
    "extra_forbidden": ("unknown_field", "There is no such field."),
    "string_type": ("wrong_type", "Must be text."),
    "int_type": ("wrong_type", "Must be a whole number."),
    "int_from_float": ("wrong_type", "Must be a whole number."),
    "int_parsing": ("wrong_type", "Must be a whole number."),
    "int_parsing_size": ("out_of_range", "Is too large."),
    "float_type": ("wrong_type", "Must be a number."),
    "float_parsing": ("wrong_type", "Must be a number."),
    "bool_type": ("wrong_type", "Must be true or false."),
    "bool_parsing": ("wrong_type", "Must be true or false."),
    "list_type": ("wrong_type", "Must be a list."),
    "tuple_type": ("wrong_type", "Must be a list."),
    "dict_type": ("wrong_type", "Must be an object."),
    "model_type": ("wrong_type", "Must be an object."),
    "model_attributes_type": ("wrong_type", "Must be an object."),
    "literal_error": ("not_one_of", "Must be {expected}."),
    "enum": ("not_one_of", "Must be {expected}."),
    "finite_number": ("not_finite", "Must be a finite number."),
    "greater_than": ("out_of_range", "Must be greater than {gt}."),
    "greater_than_equal": ("out_of_range", "Must be at least {ge}."),
    "less_than": ("out_of_range", "Must be less than {lt}."),
    "less_than_equal": ("out_of_range", "Must be at most {le}."),
    "multiple_of": ("not_a_multiple", "Must be a multiple of {multiple_of}."),
    "string_too_short": ("too_short", "Must have at least {min_length} characters."),
    "string_too_long": ("too_long", "May have at most {max_length} characters."),
    "string_pattern_mismatch": ("malformed", "Is not of the form that is wanted here."),
    "string_unicode": ("character", "Must be text in UTF-8."),
    "too_short": ("too_few", "Must have at least {min_length} entries."),
    "too_long": ("too_many", "May have at most {max_length} entries."),
}
"""pydantic's types of errors as our codes and sentences."""


def field_errors(
    error: ValidationError, cls: type[BaseModel], also: Collection[str] = ()
) -> list[FieldError]:
    """Per wrong field of a `cls` a JSON pointer (RFC 6901) and a sentence; never the input itself,
    which may be private. `also` are names that may stand beside the fields of `cls`."""
    errors = [
        _field_error(each, cls, also if index < MOST_ERRORS else None)
        for index, each in enumerate(_details(error))
    ]
    # A list with a wrong entry is also said to be too short, as if the entry were not there.
    parents = {parent for each in errors for parent in _parents(each.pointer)}
    return [each for each in errors if each.pointer not in parents]


def pointer(*path: str) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def in_our_words(kind: str, told: str, context: dict[str, Any]) -> tuple[str, str]:
    """The code and the sentence of a pydantic error: its type, message and context. What is
    raised by our own checks is told as it is."""
    if kind in CODES and kind not in _WORDS:
        return kind, told
    code, sentence = _WORDS.get(kind, ("invalid", "Is not as this field wants it."))
    if context.get("min_length") == 1:
        return code, "Must not be empty."
    return code, sentence.format(**{name: _written(value) for name, value in context.items()})


def _written(value: Any) -> str:
    """A bound or a list of names, as people write them."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _details(error: ValidationError) -> "list[ErrorDetails]":
    return error.errors(include_url=False, include_input=False)


def _parents(pointer: str) -> Iterator[str]:
    """What a field stands in, up to the whole body."""
    while pointer:
        pointer = pointer.rpartition("/")[0]
        yield pointer


def _field_error(
    error: "ErrorDetails", cls: type[BaseModel], also: Collection[str] | None
) -> FieldError:
    """Without a guess at what an unknown name may mean if `also` is None."""
    where = _path(error["loc"])
    code, sentence = in_our_words(error["type"], error["msg"], error.get("ctx", {}))
    if code == "too_many_pixels":
        where = ["width"]
    if code == "unknown_field" and also is not None:
        known = _fields_at(cls, where[:-1]) | (set(also) if len(where) == 1 else set())
        sentence += did_you_mean(where[-1], known) or _beside(cls, where)
    return FieldError(pointer(*where), sentence, code)


def _beside(cls: type[BaseModel], where: list[str]) -> str:
    """That a field stands in another one beside which it belongs; empty if it does not."""
    inner = [part for part in where[:-1] if not part.isdecimal()]
    above = where[: where.index(inner[-1])] if inner else None
    if above is None or where[-1] not in _fields_at(cls, above):
        return ""
    return f" It belongs beside {inner[-1]}, not into it."


def _path(loc: tuple[int | str, ...]) -> list[str]:
    """Where an error is. Of the name of an entry pydantic says `[key]` behind it."""
    path = [str(part) for part in loc]
    return path[:-1] if len(path) > 2 and path[-1] == "[key]" else path


def _fields_at(cls: type[BaseModel], path: list[str]) -> set[str]:
    """The names of the fields of the object at `path`."""
    for part in path:
        field = cls.model_fields.get(part)
        inner = field and _model_in(field.annotation)
        cls = inner or cls
    return set(cls.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
