"""The tables of api.md, from the classes and codes that the API is made of; see tables.py."""

import json
from collections.abc import Iterator
from typing import Any

from darkroom import field_errors
from darkroom.batch import Batch
from darkroom.codes import CODES
from darkroom.events import kind_of
from darkroom.job import Job
from darkroom.job_options import JobOptions
from darkroom.tasks import TASKS
from service.documentation import _MODELS_OWN
from service.examples import EVENTS
from service.problems import TOLD


def of_api() -> dict[str, str]:
    """Each table by its name."""
    tables = {"codes": _codes(), "field codes": _field_codes(), "job": _job(), "events": _events()}
    return tables | {"request": _request(), "options": _options(), "batch": _batch()}


def _codes() -> str:
    rows = ["| code | status | retryable | what |", "| --- | --- | --- | --- |"]
    for name, code in CODES.items():
        repeat = "yes" if code.retryable else "no"
        rows.append(f"| `{name}` | {TOLD[name].status} | {repeat} | {code.meaning} |")
    return "\n".join(rows) + "\n"


def _field_codes() -> str:
    rows = ["| code | what |", "| --- | --- |"]
    rows += [f"| `{code}` | {what} |" for code, what in field_errors.CODES.items()]
    return "\n".join(rows) + "\n"


def _job() -> str:
    """The fields of a job and of what stands in it."""
    schema = Job.model_json_schema(mode="serialization")
    return _table(_field_rows(schema, schema["$defs"], ""))


def _batch() -> str:
    """The same of a batch."""
    schema = Batch.model_json_schema(mode="serialization")
    return _table(_field_rows(schema, schema["$defs"], ""))


def _events() -> str:
    """What `data` of each kind of event holds, with an example."""
    rows = ["| event | data | what | for example |", "| --- | --- | --- | --- |"]
    for event in EVENTS:
        names = ", ".join(f"`{name}`" for name in type(event).model_fields)
        shown = event.model_dump(mode="json", exclude={"job"})
        about = f"{_in_one_line(type(event).__doc__)} | `{json.dumps(shown)}`"
        rows.append(f"| `{kind_of(event)}` | {names} | {about} |")
    return "\n".join(rows) + "\n"


def _request() -> str:
    """Every field of a request, with the tasks that take it."""
    schemas = {name: task.request.model_json_schema() for name, task in TASKS.items()}
    taken: dict[str, list[str]] = {}
    for task, schema in schemas.items():
        for name in schema["properties"]:
            taken.setdefault(name, []).append(task)
    rows = ["| field | value | tasks | what |", "| --- | --- | --- | --- |"]
    for name, tasks in taken.items():
        schema = schemas[tasks[0]]
        field = schema["properties"][name]
        whose = "all" if len(tasks) == len(TASKS) else ", ".join(tasks)
        value = "one of the tasks" if name == "task" else _value(field, schema["$defs"])
        default = "" if name in _MODELS_OWN else _default(field)
        rows.append(f"| `{name}` | {value}{default} | {whose} | {_told(field)} |")
        rows += [
            f"| `{inner}` | {_value(part, schema['$defs'])}{_default(part)} | | {_told(part)} |"
            for inner, part in _parts(field, schema["$defs"], name)
        ]
    return "\n".join(rows) + "\n"


def _options() -> str:
    schema = JobOptions.model_json_schema()
    return _table(_field_rows(schema, schema["$defs"], ""))


def _table(rows: Iterator[str]) -> str:
    return "\n".join(["| field | value | what |", "| --- | --- | --- |", *rows]) + "\n"


def _field_rows(schema: dict[str, Any], defs: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, field in schema["properties"].items():
        yield f"| `{prefix}{name}` | {_value(field, defs)} | {_told(field)} |"
        for inner, part in _parts(field, defs, f"{prefix}{name}"):
            yield f"| `{inner}` | {_value(part, defs)} | {_told(part)} |"


def _parts(field: dict[str, Any], defs: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """The fields of the objects that a field holds, such as `images[].id`."""
    of, _ = _without_null(field)
    mark = "[]" if "items" in of else ""
    held = _resolved(of.get("items", of), defs)
    for inner, part in held.get("properties", {}).items():
        yield f"{name}{mark}.{inner}", part


def _value(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """What a field can hold, in words."""
    of, null = _without_null(field)
    words = _kind(_resolved(of, defs), defs)
    return f"{words}, or null" if null else words


def _default(field: dict[str, Any]) -> str:
    """What is taken if it is left out, where that is a plain value."""
    plain = field.get("default")
    if plain is None or plain in ("", [], {}) or isinstance(plain, dict):
        return ""
    return f"; `{plain if isinstance(plain, str) else json.dumps(plain)}` if left out"


def _kind(of: dict[str, Any], defs: dict[str, Any]) -> str:
    if "const" in of:
        return f"`{json.dumps(of['const'])}`"
    if "enum" in of:
        return ", ".join(f"`{each}`" for each in of["enum"])
    if of.get("type") == "array":
        most = f"at most {of['maxItems']}" if "maxItems" in of else ""
        if "prefixItems" in of:
            return f"{len(of['prefixItems'])} numbers from 0 to 1"
        item = _kind(_resolved(of["items"], defs), defs)
        return ", ".join(filter(None, [f"list: {item}", most]))
    if of.get("format") == "date-time":
        return "time (RFC 3339, UTC)"
    kinds = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    kind = kinds.get(of.get("type", ""), of.get("type", "anything"))
    return " ".join(filter(None, [kind, _bounds(of)]))


def _bounds(of: dict[str, Any]) -> str:
    low, high = of.get("minimum", of.get("exclusiveMinimum")), of.get("maximum")
    if "maxLength" in of:
        return f"of at most {of['maxLength']} characters"
    if low is not None and high is not None:
        return f"{low:g} to {high:g}" if high < 2**50 else f"from {low:g} to {high}"
    if low is not None:
        return f"from {low:g}"
    return f"up to {high:g}" if high is not None else ""


def _resolved(of: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    name = of.get("$ref", "").rpartition("/")[2]
    return defs[name] if name else of


def _without_null(field: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    kinds = field.get("anyOf", [field])
    kept = [kind for kind in kinds if kind.get("type") != "null"]
    return kept[0], len(kept) < len(kinds)


def _told(field: dict[str, Any]) -> str:
    return _in_one_line(field.get("description"))


def _in_one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
