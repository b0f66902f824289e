"""Which package may import what, and that importing anything does nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HTTP = {"fastapi", "starlette", "uvicorn"}
TENSORS = {"torch", "diffusers", "transformers", "accelerate", "safetensors"}

FORBIDDEN = {
    "darkroom": {*HTTP, *TENSORS, "service", "worker", "training", "benchmarks"},
    "service": {*TENSORS, "worker", "training", "benchmarks"},
    "worker": {*HTTP, "service", "training", "benchmarks"},
}
FORBIDDEN_IN_FILES = {
    "worker/batcher.py": TENSORS,
    "worker/__main__.py": TENSORS,
}
# What RQ knows stays behind our own queue: its private details change between releases.
RQ_FILES = {"darkroom/queue/jobs.py", "darkroom/queue/workers.py"}

IMPORT_ALL = """
import importlib, os, sys, tempfile

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
loaded = [name for name in forbidden if name in sys.modules]
assert not loaded, f"imported on the way: {loaded}"
if torch := sys.modules.get("torch"):
    assert not torch.cuda.is_initialized()
"""


def sources(package: str) -> Iterator[Path]:
    yield from sorted((ROOT / package).rglob("*.py"))


def modules(package: str) -> list[str]:
    names = [p.relative_to(ROOT).with_suffix("").parts for p in sources(package)]
    return [".".join(n[:-1] if n[-1] == "__init__" else n) for n in names]


def imports(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [node.module]
        else:
            continue
        yield from (name.partition(".")[0] for name in names)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_package_imports_only_what_it_may(package: str) -> None:
    wrong = []
    for path in sources(package):
        name = path.relative_to(ROOT).as_posix()
        forbidden = FORBIDDEN[package] | FORBIDDEN_IN_FILES.get(name, set())
        if name not in RQ_FILES:
            forbidden = forbidden | {"rq"}
        wrong += [f"{name} imports {found}" for found in imports(path) if found in forbidden]
    assert not wrong


def test_rules_name_files_that_exist() -> None:
    named = {*FORBIDDEN_IN_FILES, *RQ_FILES}
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


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


def _import_in_a_new_process(names: list[str], forbidden: set[str], folder: Path) -> None:
    command = [sys.executable, "-B", "-c", IMPORT_ALL, str(ROOT), " ".join(forbidden), *names]
    done = subprocess.run(command, env={}, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
