"""The client for TypeScript: its own tests against a real service, and that its types are those of
the API."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"
INSTALLED = shutil.which("node") and (CLIENT / "node_modules").is_dir()

pytestmark = pytest.mark.skipif(
    not INSTALLED, reason="it is not installed: npm ci --prefix clients/typescript"
)


def node(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run(command, cwd=CLIENT, env=env, capture_output=True, text=True, timeout=280)


@pytest.fixture
def working(work):
    """Works jobs until the test has ended."""
    over = threading.Event()
    faults: list[BaseException] = []

    def run() -> None:
        try:
            while not over.is_set():
                if claim := work.next(0.2):
                    work.finish(claim)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    over.set()
    thread.join(20)
    assert not faults


def test_it_works(served, working, tmp_path):  # noqa: ARG001
    built = node("npx", "tsc", "--outDir", tmp_path)
    assert built.returncode == 0, built.stdout
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = node(
        "node", "--test", tmp_path / "test" / "client.test.js", DARKROOM_TEST_URL=served.url
    )
    assert done.returncode == 0, done.stdout
    assert "# skipped 0" in done.stdout


def test_its_types_are_those_of_the_api(tmp_path):
    make = [sys.executable, CLIENT / "shapes.py"]
    shapes = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    (tmp_path / "shapes.json").write_text(shapes.stdout)
    options = json.loads((CLIENT / "package.json").read_text())["config"]["types"].split()
    made = tmp_path / "schema.ts"
    done = node("npx", "openapi-typescript", tmp_path / "shapes.json", "-o", made, *options)
    assert done.returncode == 0, done.stderr
    assert made.read_text() == (CLIENT / "src" / "schema.ts").read_text(), "run `make clients`"
