"""Disks that are full under the logs, the pictures or all of it: everything lives on."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.deployment import Deployment


@pytest.fixture
def unlogged(tmp_path: Path, models_toml: Path) -> Iterator[Deployment]:
    """An API and a worker that can write no line of a log, with short leases."""
    settings = {"worker_models": "tiny,broken", "lease_s": 2, "grace_s": 5}
    with Deployment(tmp_path / "darkroom", models_toml, **settings) as deployment:
        deployment.log_to = Path("/dev/full")
        deployment.start_api()
        deployment.start_worker()
        yield deployment


@contextmanager
def no_room(store: Path) -> Iterator[None]:
    """Nothing can be stored: a file is where a folder has to be made."""
    store.mkdir(parents=True, exist_ok=True)
    for name in ("images", "inputs"):
        if (store / name).exists():
            (store / name).rename(store / f"{name}-away")
        (store / name).write_text("no folder")
    yield
    for name in ("images", "inputs"):
        (store / name).unlink()
        if (store / f"{name}-away").exists():
            (store / f"{name}-away").rename(store / name)


def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_jobs_end_though_no_line_of_a_log_can_be_written(unlogged: Deployment) -> None:
    with no_room(unlogged.folder / "images"):
        jobs = [unlogged.submit(prompt=f"cat {n}") for n in range(4)]
        refused = unlogged.http.post("/api/v1/jobs", json={"prompt": "a", "image": picture()})
        assert refused.status_code == 503
        assert refused.json()["code"] == "store_unavailable"
        assert refused.headers["content-type"] == "application/problem+json"
        unlogged.until(lambda: made_in_vain(unlogged), "all are given back", timeout_s=60)
    ended = [unlogged.finished(job["id"], timeout_s=60) for job in jobs]
    assert {job["status"] for job in ended} == {"succeeded"}
    failed = unlogged.finished(unlogged.submit(prompt="a cat", model="broken")["id"], timeout_s=60)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "model_load_failed")
    unlogged.until(lambda: unlogged.worker("worker")["running"] == 0, "nothing is held", 60)


def made_in_vain(deployment: Deployment) -> bool:
    worker = deployment.worker("worker")
    return worker["passes"] > 0 and worker["running"] == 0
