"""Disks that are full under the logs, the pictures or all of it: everything lives on."""

import base64
import io
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from tests.chaos.spawn import Zygote
from tests.deployment import Deployment
from tests.running import RunningUp
from worker.__main__ import ANNOUNCE_EVERY_S


@pytest.fixture
def unlogged(tmp_path: Path, models_toml: Path, zygote: Zygote) -> Iterator[Deployment]:
    """An API and a worker that can write no line of a log, with short leases."""
    settings = {"worker_models": "tiny,broken", "lease_s": 2, "grace_s": 5}
    with Deployment(tmp_path / "darkroom", models_toml, zygote, **settings) as deployment:
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


SMALL_DISK = 'mount -t tmpfs -o size=24m,mode=700 none "$0" && exec "$@"'
"""A disk of its own for the command that follows: in a namespace of its own, so that it takes no
rights, and goes with it."""


FULL_FOR_S = 5 * ANNOUNCE_EVERY_S


def has_namespaces() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command).returncode == 0


class Disk:
    """The one of a running `up`, as others see it."""

    def __init__(self, up: RunningUp) -> None:
        self._state = Path(f"/proc/{up.process.pid}/root{up.state_dir}")

    def fill(self) -> None:
        """To the last byte of the logs, whose last pages would take some more lines."""
        for path in (self._state / "ballast", *self._state.glob("logs/*.log")):
            for length in (4096, 1):
                with path.open("ab", buffering=0) as file, suppress(OSError):
                    while file.write(b"\n" * length):
                        pass

    def free(self) -> None:
        (self._state / "ballast").unlink()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_namespaces(), reason="may mount no disk of its own")
def test_all_of_up_lives_through_a_full_disk(tmp_path: Path, models_toml: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    within = ["unshare", "-rm", "sh", "-c", SMALL_DISK, str(state)]
    options = ["--worker-models", "tiny", "--lease-s", "2"]
    with (
        RunningUp(state, models_toml, *options, within=within) as up,
        httpx2.Client(base_url=up.ready(), timeout=60) as http,
    ):
        disk, before = Disk(up), up.descendants().keys()
        jobs = accepted(http, 20)
        disk.fill()
        refused = until_refused(http)
        jobs += [answer["id"] for answer in refused if "id" in answer]
        disk.free()
        while not (more := accepted(http, 5)):
            assert up.process.poll() is None
        ended = [wait_for(http, job_id) for job_id in jobs + more]
        assert Counter(job["status"] for job in ended) == {"succeeded": len(ended)}
        assert before <= up.descendants().keys(), "a process died"


def accepted(http: httpx2.Client, count: int) -> list[str]:
    """Ids of the jobs that were accepted; the others were refused in words."""
    return [answer["id"] for answer in (post(http, n) for n in range(count)) if "id" in answer]


def post(http: httpx2.Client, number: int) -> dict[str, Any]:
    body = {"prompt": f"cat {number}", "num_inference_steps": 20}
    answer = http.post("/api/v1/jobs", json=body | ({"image": picture()} if number % 2 else {}))
    if answer.status_code != 202:
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.status_code == 503
    return answer.json()


def until_refused(http: httpx2.Client) -> list[dict[str, Any]]:
    """Post until Redis, too, has found that nothing can be written, and worker and keeper have had
    the time to meet it."""
    answers: list[dict[str, Any]] = []
    end = time.monotonic() + FULL_FOR_S
    while time.monotonic() < end or not any(map(is_of_the_queue, answers)):
        answers.append(post(http, len(answers)))
    return answers


def is_of_the_queue(answer: dict[str, Any]) -> bool:
    return answer.get("code") == "queue_unavailable"


def wait_for(http: httpx2.Client, job_id: str) -> dict[str, Any]:
    while True:
        job = http.get(f"/api/v1/jobs/{job_id}", params={"wait": 10}).json()
        if job.get("status") in ("succeeded", "failed", "canceled"):
            return job
