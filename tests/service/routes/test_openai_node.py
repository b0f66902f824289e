"""The OpenAI Images API, asked by clients for Node: OpenAI's own and the AI SDK."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.job import JobError, JobStatus
from tests.service.conftest import knows, png
from tests.service.routes.test_openai import asymmetric_mask

NODE = Path(__file__).parents[2] / "clients" / "node"
INSTALLED = shutil.which("node") and (NODE / "node_modules").is_dir()

pytestmark = pytest.mark.skipif(
    not INSTALLED,
    reason="the clients for Node are not installed: npm ci --prefix tests/clients/node",
)


@pytest.fixture
def pictures(tmp_path):
    """The paths of a picture and of a mask."""
    picture, mask = tmp_path / "picture.png", tmp_path / "mask.png"
    picture.write_bytes(png())
    mask.write_bytes(asymmetric_mask())
    return picture, mask


@pytest.fixture
def working(work, redis):
    """Works the next jobs, so many, and then others that fail, while a client asks for them."""
    knows(redis, "pix", "text-to-image", "image-to-image", "inpaint")

    @contextmanager
    def working(count: int, failing: int = 0):
        def finish():
            for _ in range(count):
                work.finish(work.claim(patience_s=200))
            for _ in range(failing):
                error = JobError(code="invalid_output", message="No numbers.")
                work.finish(work.claim(patience_s=200), JobStatus.FAILED, error=error)

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(finish)
            yield
            done.result()

    return working


@pytest.fixture
def run(served, pictures, working):
    """Runs a script whose requests make so many jobs, and returns what it tells."""

    def run(script: str, path: str = "/v1", **jobs: int) -> dict:
        with working(**jobs):
            command = ["node", NODE / script, f"{served.url}{path}", *pictures]
            done = subprocess.run(command, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_openais_own(run, jobs):
    told = run("openai.mjs", count=3)
    assert {"pix", "gpt-image-1"} <= set(told["models"])
    assert told["made"] == [["b64_json", "url"]] * 2
    assert told["edited"] == 1
    assert "does not follow instructions" in told["warnings"][0]
    assert told["events"] == ["image_generation.completed"]
    assert told["error"] == {"name": "BadRequestError", "param": "size", "code": "invalid_value"}
    stream, edit, made = (job.request for job in jobs.page().jobs)
    assert (stream["prompt"], edit["task"]) == ("a dog", "inpaint")
    assert (made["seed"], made["num_images"], made["width"]) == (7, 2, 64)


def test_the_ai_sdk(run, jobs):
    told = run("ai.mjs", count=3, failing=2)
    assert told["made"] == [len(png(color=(n, 9, 9))) for n in range(2)]
    assert (told["edited"], told["masked"]) == (1, "image/png")
    assert "size" in told["error"]
    assert told["ignored"] == ["aspectRatio", "seed"]
    assert (told["tries"], "No numbers" in told["failed"]) == (2, True)
    _, _, masked, edit, made = (job.request for job in jobs.page().jobs)
    assert (masked["task"], masked["prompt"]) == ("inpaint", "red")
    assert (edit["task"], edit["prompt"]) == ("image-to-image", "blue")
    assert (made["negative_prompt"], made["num_images"], made["seed"]) == ("a dog", 2, 7)
