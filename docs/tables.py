"""Writes the tables of these pages from the code: `make docs`. A test sees that it was run.

A table stands between `<!-- name -->` and `<!-- end -->` in its page.
"""

import ast
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from worker.gathering.joinable import JOINABLE, TEXT_LENGTHS, Rows

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGES = ("api", "architecture", "models", "operations", "schedulers", "tasks")
PACKAGES = ("darkroom", "service", "web", "worker", "training", "benchmarks")


def main() -> None:
    for page, text in pages().items():
        page.write_text(text)


def pages() -> dict[Path, str]:
    """Each page with tables, as it should read."""
    from docs.api_tables import of_api
    from docs.family_tables import of_families
    from docs.scheduler_tables import of_schedulers

    tables = {"files": _files(), "settings": _settings(), "cards": _cards(), "tasks": _tasks()}
    tables["joined"] = _joined()
    tables |= of_api() | of_families() | of_schedulers()
    written = {}
    for page in (DOCS / f"{name}.md" for name in PAGES):
        text = page.read_text()
        for name, table in tables.items():
            between = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
            text = re.sub(between, lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL)
        written[page] = text
    return written


def _joined() -> str:
    """The networks whose calls are joined, with the prompts that can share a pass."""
    rows = [f"| `{name}` | {_prompts(layout)} |" for name, layout in JOINABLE.items()]
    return "\n".join(["| network | prompts that share a pass |", "| --- | --- |", *rows]) + "\n"


def _prompts(layout: Rows) -> str:
    if layout.text is not None:
        return f"those filled up to the same number of tokens: {', '.join(map(str, TEXT_LENGTHS))}"
    if layout.lists:
        return f"those of as many tokens, counted in units of {max(layout.lists.values())}"
    return "those of as many tokens" if layout.counted else "all"


def _files() -> str:
    """A table for each room, under what the room's `__init__.py` says of it."""
    return "\n".join(f"{_heading(room)}\n\n{_rows(room)}" for room in _rooms())


def _rooms() -> Iterator[Path]:
    """Folders with files of their own, each before those in it."""
    for package in PACKAGES:
        files = itertools.chain(*((ROOT / package).rglob(kind) for kind in ("*.py", "*.js")))
        folders = {path.parent for path in files}
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
    return modules + sorted(room.glob("*.lua")) + sorted(room.glob("*.js"))


def _purpose(path: Path) -> str:
    """What a file is for: the first words of its docstring or, in Lua and JavaScript, of its first
    comment."""
    text = path.read_text()
    if path.suffix == ".lua":
        first = text.partition("\n")[0].removeprefix("--")
    elif path.suffix == ".js":
        comment = itertools.takewhile(lambda line: line.startswith("//"), text.splitlines())
        first = " ".join(line.removeprefix("//") for line in comment)
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


def _cards() -> str:
    """The fields of a card and of what stands in it, such as `limits.max_size`."""
    from darkroom.model_card import ModelCard

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
