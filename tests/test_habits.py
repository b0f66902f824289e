"""What CONTRIBUTING asks of the code, where a machine can see it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("darkroom", "service", "worker", "training", "benchmarks", "docs")
LONGEST_FILE = 300
LONGEST_BODY = 60
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def table_lines(tree: ast.Module) -> int:
    """Lines of constants that hold nothing but data."""
    return sum(
        lines_of(node)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Dict | ast.List | ast.Set | ast.Tuple)
    )


@pytest.mark.parametrize("path", FILES, ids=named)
def test_files_and_functions_are_short(path: Path) -> None:
    tree = ast.parse(path.read_text())
    lines = path.read_text().count("\n") - table_lines(tree)
    assert lines <= LONGEST_FILE, f"{named(path)} has {lines} lines without its tables: part it"
    for function in functions(tree):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        assert length <= LONGEST_BODY, (
            f"{named(path)}: the body of {function.name} has {length} lines"
        )


def broad_handlers(path: Path) -> Iterator[str]:
    """The functions that catch all there is, with how often."""
    for function in functions(ast.parse(path.read_text())):
        for node in ast.walk(function):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
                yield f"{named(path)}: {function.name}"


def _is_broad(kind: ast.expr | None) -> bool:
    names = {node.id for node in ast.walk(kind) if isinstance(node, ast.Name)} if kind else set()
    return kind is None or bool(names & {"Exception", "BaseException"})


def test_broad_excepts_are_those_that_contributing_lists() -> None:
    listed = re.findall(r"^  - `([\w/]+\.py)`, `(\w+)`: ", CONTRIBUTING, re.MULTILINE)
    found = [each for path in FILES for each in broad_handlers(path)]
    assert sorted({f"{file}: {function}" for file, function in listed}) == sorted(set(found))


def test_threads_of_the_engine_are_those_that_contributing_lists() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    named_threads = r'(?:super\(\).__init__\(name=|or_exit\(|ThreadPoolExecutor\(THREADS, )"(\w+)"'
    (listed,) = re.findall(r"^  - engine: (.+?);", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    assert {*re.findall(named_threads, sources)} - {"engine"} <= {*re.findall(r"`(\w+)`", listed)}


UNTESTED = re.findall(r"^  - `([\w/]+\.py)` in `", CONTRIBUTING, re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_source_file_has_a_test_of_its_name(path: Path) -> None:
    name = named(path)
    if path.name == "__init__.py" or name.split("/")[0] in ("docs", "benchmarks"):
        return
    stem = "main" if path.stem == "__main__" else path.stem
    test = ROOT / "tests" / path.parent.relative_to(ROOT) / f"test_{stem}.py"
    assert test.exists() != (name in UNTESTED), (
        f"{named(test)} is missing; write it, or say in CONTRIBUTING which test sees to {name}"
    )


def test_tests_that_contributing_names_exist() -> None:
    named_tests = re.findall(r"^  - `[\w/]+\.py` in `([\w/]+\.py)`", CONTRIBUTING, re.MULTILINE)
    assert [name for name in named_tests if not (ROOT / name).is_file()] == []


def test_no_test_replaces_the_clock_of_its_process() -> None:
    """Servers run in threads of it: who looked at the clock just then would sleep for hours."""
    replaced = re.compile(r'setattr\((?:time,|"time\.)')
    tests = (ROOT / "tests").rglob("*.py")
    assert [named(path) for path in tests if replaced.search(path.read_text())] == []
