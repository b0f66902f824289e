"""Writes the tables of these pages from the code: `make docs`. A test sees that it was run.

A table stands between `<!-- name -->` and `<!-- end -->` in its page.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = ("api", "architecture", "models", "operations", "tasks")
PACKAGES = ("darkroom", "service", "worker", "training", "benchmarks")


def main() -> None:
    for page, text in pages().items():
        page.write_text(text)


def pages() -> dict[Path, str]:
    """Each page with tables, as it should read."""
    tables = {"files": _files(), "settings": _settings(), "cards": _cards(), "tasks": _tasks()}
    tables |= {"codes": _codes(), "field codes": _field_codes(), "job": _job(), "events": _events()}
    tables |= {"request": _request(), "options": _options()}
    written = {}
    for page in (DOCS / f"{name}.md" for name in PAGES):
        text = page.read_text()
        for name, table in tables.items():
            between = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
            text = re.sub(between, lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL)
        written[page] = text
    return written


def _files() -> str:
    """A table for each room, under what the room's `__init__.py` says of it."""
    return "\n".join(f"{_heading(room)}\n\n{_rows(room)}" for room in _rooms())


def _rooms() -> Iterator[Path]:
    """Folders with files of their own, each before those in it."""
    for package in PACKAGES:
        folders = {path.parent for path in (ROOT / package).rglob("*.py")}
        yield from sorted(folder for folder in folders if _sources(folder))


def _heading(room: Path) -> str:
    name = room.relative_to(ROOT).as_posix()
    init = room / "__init__.py"
    what = _purpose(init) if init.exists() else ""
    return f"### {name}/\n\n{what}." if what else f"### {name}/"


def _rows(room: Path) -> str:
    rows = [f"| `{path.name}` | {_purpose(path)} |" for path in _sources(room)]
    return "\n".join(["| file | what |", "| --- | --- |", *rows]) + "\n"


def _sources(room: Path) -> list[Path]:
    modules = sorted(path for path in room.glob("*.py") if path.name != "__init__.py")
    return modules + sorted(room.glob("*.lua"))


def _purpose(path: Path) -> str:
    """What a file is for: the first words of its docstring or, in Lua, of its first comment."""
    text = path.read_text()
    if path.suffix == ".lua":
        first = text.partition("\n")[0].removeprefix("--")
    else:
        first = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
    sentence = re.split(r"[;.](?:\s|$)", " ".join(first.split()))[0]
    return sentence.replace("|", "\\|")


def _tasks() -> str:
    """What each task makes, what its body cannot leave out, and the smallest body there is."""
    from darkroom.tasks import TASKS

    rows = ["| task | what it makes | needs | for example |", "| --- | --- | --- | --- |"]
    for name, task in TASKS.items():
        needs = ", ".join(f"`{each}`" for each in task.required) or "nothing"
        example = re.sub(r'"data:image/png;base64,[^"]*"', '"<base64>"', json.dumps(task.example))
        what = (task.request.__doc__ or "").strip().rstrip(".")
        rows.append(f"| [{name}](#{name}) | {what} | {needs} | `{example}` |")
    return "\n".join(rows) + "\n"


def _settings() -> str:
    from darkroom.settings import Settings

    rows = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        what = " ".join((field.description or "").split())
        default = "" if field.default in (None, "") else f"`{field.default}`"
        rows.append(f"| `DARKROOM_{name.upper()}` | {default} | {what} |")
    return "\n".join(rows) + "\n"


def _codes() -> str:
    from darkroom.codes import CODES
    from service.problems import TOLD

    rows = ["| code | status | retryable | what |", "| --- | --- | --- | --- |"]
    for name, code in CODES.items():
        repeat = "yes" if code.retryable else "no"
        rows.append(f"| `{name}` | {TOLD[name].status} | {repeat} | {code.meaning} |")
    return "\n".join(rows) + "\n"


def _field_codes() -> str:
    from darkroom.field_errors import CODES

    rows = ["| code | what |", "| --- | --- |"]
    return "\n".join([*rows, *(f"| `{code}` | {what} |" for code, what in CODES.items())]) + "\n"


def _job() -> str:
    """The fields of a job and of what stands in it."""
    from darkroom.job import Job

    schema = Job.model_json_schema(mode="serialization")
    return _table(_field_rows(schema, schema["$defs"], ""))


def _events() -> str:
    """What `data` of each kind of event holds."""
    from darkroom.events import EVENTS

    rows = ["| event | data | what |", "| --- | --- | --- |"]
    for kind, shape in EVENTS.items():
        names = ", ".join(f"`{name}`" for name in shape.model_fields)
        rows.append(f"| `{kind}` | {names} | {_in_one_line(shape.__doc__)} |")
    return "\n".join(rows) + "\n"


def _request() -> str:
    """Every field of a request, with the tasks that take it."""
    from darkroom.tasks import TASKS

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
        rows.append(f"| `{name}` | {value} | {whose} | {_told(field)} |")
        rows += [
            f"| `{inner}` | {_value(part, schema['$defs'])} | | {_told(part)} |"
            for inner, part in _parts(field, schema["$defs"], name)
        ]
    return "\n".join(rows) + "\n"


def _options() -> str:
    from darkroom.job import JobOptions

    schema = JobOptions.model_json_schema()
    return _table(_field_rows(schema, {}, ""))


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


def _cards() -> str:
    """The fields of a card and of what stands in it, such as `limits.max_size`."""
    from darkroom.catalog import ModelCard

    rows = ["| field | default | what |", "| --- | --- | --- |", *_card_rows(ModelCard, "")]
    return "\n".join(rows) + "\n"


def _card_rows(card: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in card.model_fields.items():
        inner = [each for each in _models_in(field.annotation) if each is not card]
        default = json.dumps(field.get_default(), default=str)
        plain = "" if field.is_required() or default in ('""', "null") or inner else f"`{default}`"
        yield f"| `{prefix}{name}` | {plain} | {' '.join((field.description or '').split())} |"
        for each in inner:
            mark = "[]." if "tuple" in str(field.annotation) else "."
            yield from _card_rows(each, f"{prefix}{name}{mark}")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models_in(each)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
