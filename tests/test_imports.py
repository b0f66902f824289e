"""Which package may import what, and that importing anything does nothing."""

import ast
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Set
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HTTP = {"fastapi", "starlette", "uvicorn"}
TENSORS = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}

REQUESTS = {
    *("darkroom.catalog", "darkroom.draft", "darkroom.forms", "darkroom.offers"),
    *("darkroom.request", "darkroom.tasks", "darkroom.validation"),
}
JOBS = {"darkroom.job", "darkroom.queue"}
# The worker's own files: the engine, its threads and its supervisor.
ENGINE = {f"worker.{path.stem}" for path in (ROOT / "worker").glob("[a-z]*.py")} - {"worker.device"}

# A folder or file, and what is not imported in it.
FORBIDDEN = {
    "darkroom": {*HTTP, *TENSORS, "service", "worker", "training", "benchmarks"},
    "darkroom/client": {"darkroom.queue", "darkroom.command", "PIL", "numpy"},
    "service": {*TENSORS, "worker", "training", "benchmarks"},
    "training": {"service", "benchmarks", "darkroom.command"},
    "worker": {*HTTP, "service", "training", "benchmarks"},
    "worker/gathering": {*REQUESTS, *JOBS, *ENGINE, "worker.loading", "worker.making"},
    "worker/loading": {*JOBS, *ENGINE, "worker.making"},
    "worker/making": {*JOBS, *ENGINE},
    "worker/__main__.py": TENSORS,
    "worker/batcher.py": {*TENSORS, *REQUESTS, *JOBS},
}
# What only one folder imports. What RQ and redis-py know stays behind our own queue, since RQ's
# private details change between releases; the command line is an end, which nobody builds on.
ONLY_IN = {
    "redis": "darkroom/queue",
    "rq": "darkroom/queue",
    "rich": "darkroom/command",
    "typer": "darkroom/command",
    "darkroom.command": "darkroom/command",
}

IMPORT_ALL = """
import gc, importlib, os, sys, tempfile

writes = []

def watch(event, args):
    if event == "open" and isinstance(args[2], int) and args[0] != os.devnull:
        if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            writes.append(f"{event} {args[0]}")
    elif event in ("os.mkdir", "os.rename", "os.remove", "socket.connect", "subprocess.Popen"):
        writes.append(f"{event} {args[:2]}")

root, forbidden, modules = sys.argv[1], sys.argv[2].split(), sys.argv[3:]
sys.path.insert(0, root)
sys.addaudithook(watch)
for module in modules:
    importlib.import_module(module)
if "torch" in sys.modules:  # makes its own scratch folder on import and asks where CUDA lies
    own = (f"{tempfile.gettempdir()}/", "ldconfig")
    writes = [write for write in writes if not any(each in write for each in own)]
assert not writes, writes
assert gc.isenabled()
loaded = [name for name in forbidden if name in sys.modules]
assert not loaded, f"imported on the way: {loaded}"
if torch := sys.modules.get("torch"):
    assert not torch.cuda.is_initialized()
"""


def sources(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def modules(package: str) -> list[str]:
    names = [p.relative_to(ROOT).with_suffix("").parts for p in sources(package)]
    return [".".join(n[:-1] if n[-1] == "__init__" else n) for n in names]


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Modules that a file imports, wherever in it; `from a import b` may import `a.b`."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(paths: Iterable[Path], forbidden: Set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in paths
        for module in imports(path)
        if any(f"{module}.".startswith(f"{name}.") for name in forbidden)
    ]


@pytest.mark.parametrize("place", FORBIDDEN)
def test_nothing_is_imported_where_it_must_not_be(place: str) -> None:
    paths = sources(place)
    assert paths
    assert breaches(paths, FORBIDDEN[place]) == []


@pytest.mark.parametrize("module", ONLY_IN)
def test_only_one_folder_imports(module: str) -> None:
    others = {*sources("darkroom"), *sources("service"), *sources("worker")}
    others -= set(sources(ONLY_IN[module]))
    assert breaches(sorted(others), {module}) == []
    assert breaches(sources(ONLY_IN[module]), {module}), "a rule about nothing"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also where only types are imported: two files that need each other are one, or three."""
    packages = ("darkroom", "service", "worker", "training", "benchmarks")
    paths = dict(itertools.chain(*(zip(modules(p), sources(p), strict=True) for p in packages)))
    drawn = {name: {_module(each, paths) for each in imports(paths[name])} for name in paths}
    TopologicalSorter({name: to - {name} for name, to in drawn.items()}).prepare()


def _module(imported: str, known: Container[str]) -> str:
    """The module that `a.b.c` is of: itself, or `a.b`."""
    return imported if imported in known else imported.rpartition(".")[0]


def test_rules_name_modules_that_exist() -> None:
    named = {name for names in FORBIDDEN.values() for name in names} | set(ONLY_IN)
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("darkroom", {*HTTP, *TENSORS, "service", "worker"}),
        ("service", {*TENSORS, "worker"}),
        ("worker", {*HTTP, "service"}),
    ],
)
def test_modules_import_with_an_empty_environment(
    package: str, forbidden: set[str], tmp_path: Path
) -> None:
    """Nothing is written, connected to or started on import, and no CUDA context is made."""
    names = modules(package)
    assert names
    _import_in_a_new_process(names, forbidden, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["worker.__main__", "worker.batcher"])
def test_module_does_not_bring_torch(module: str, tmp_path: Path) -> None:
    _import_in_a_new_process([module], TENSORS, tmp_path)


def test_a_client_brings_nothing_that_others_need(tmp_path: Path) -> None:
    """A program that has a client starts as quickly as that can be."""
    others = {*HTTP, *TENSORS, "redis", "rq", "typer", "rich", "PIL", "numpy", "structlog"}
    _import_in_a_new_process(["darkroom.client"], others | {"pydantic_settings"}, tmp_path)


def _import_in_a_new_process(names: list[str], forbidden: set[str], folder: Path) -> None:
    command = [sys.executable, "-B", "-c", IMPORT_ALL, str(ROOT), " ".join(forbidden), *names]
    done = subprocess.run(command, env={}, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
