"""`darkroom up`: starts everything, keeps it running, leaves nothing behind."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
import torch

from darkroom.ports import free_port
from darkroom.tasks import TASKS
from tests.running import (
    DARKROOM,
    RunningUp,
    darkroom,
    environment,
    kill,
    wait_until_gone,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_signal_stops_everything_in_order(
    number: int, state_dir: Path, tiny_models: Path
) -> None:
    with RunningUp(state_dir, tiny_models) as up:
        url = up.ready()
        assert f"{url}/v1 " in up.output
        assert "A1111" in up.output
        picture = state_dir / "cat.png"
        assert darkroom("generate", "a cat", "--url", url, "-o", picture).returncode == 0
        children = up.descendants()
        for part in ("valkey-server", "-m service", "keeper", "-m worker ", "worker.engine"):
            assert up.child(part) in children
        up.process.send_signal(number)
        up.says("^Stopped.$")
        assert up.process.wait(90) == 0
    assert not wait_until_gone(set(children), 0)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_killed_up_leaves_no_process_behind(state_dir: Path, tiny_models: Path) -> None:
    with RunningUp(state_dir, tiny_models, "--grace-s", "1") as up:
        up.ready()
        children = set(up.descendants())
        assert len(children) == 5
        kill(up.process.pid)
        assert not wait_until_gone(children)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_what_dies_is_started_again(state_dir: Path, tiny_models: Path) -> None:
    with RunningUp(state_dir, tiny_models) as up:
        url = up.ready()
        engine, supervisor = up.child("worker.engine"), up.child("-m worker ")
        kill(supervisor)
        assert not wait_until_gone({engine}), "the engine outlived its supervisor"
        up.says("^worker .* is started again")
        for part, said in {
            "-m service": "^api .* is started again",
            "keeper": "^keeper .* is started again",
            "valkey-server": "^The embedded Valkey ended; it is started again",
        }.items():
            kill(up.child(part))
            up.says(said)
        # Everything works again, and what was accepted before is still there.
        transport = httpx2.HTTPTransport(retries=10)
        with httpx2.Client(base_url=url, timeout=90, transport=transport) as http:
            while http.get("/readyz").status_code != 200:
                assert up.process.poll() is None
            body = {"prompt": "a cat", "num_inference_steps": 2}
            made = http.post("/api/v1/jobs", json=body, headers={"Prefer": "wait=60"})
        assert made.json()["status"] == "succeeded", made.text


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_worker_that_was_told_to_end_is_not_started_again(
    state_dir: Path, tiny_models: Path
) -> None:
    with (
        RunningUp(state_dir, tiny_models) as up,
        httpx2.Client(base_url=up.ready(), timeout=20) as http,
    ):
        while not (workers := http.get("/api/v1/workers").json()["data"]):
            assert up.process.poll() is None
        path = f"/api/v1/workers/{workers[0]['name']}/drain"
        assert http.post(path).status_code == 202
        up.says("^worker .* was drained and stays away")
        assert http.get("/api/v1/workers").json()["data"] == []


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from darkroom.command.up import run
from darkroom.settings import Settings

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            pass

def say(text):
    print(text, flush=True)
    if "The API is ready" in text:
        late = Late()
        del late

run(Settings(_env_file=None, state_dir=Path(sys.argv[1]), models=sys.argv[2], port=0), 0, say)
"""


def test_a_signal_in_a_finalizer_is_heard(state_dir: Path, tiny_models: Path) -> None:
    """Python drops what is raised there."""
    command = [sys.executable, "-c", INTERRUPTED, str(state_dir), str(tiny_models)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert "Exception ignored" in done.stderr
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Stopped.")


def test_what_cannot_be_started_again_is_tried_until_it_can(
    state_dir: Path, tiny_models: Path
) -> None:
    with RunningUp(state_dir, tiny_models, "--workers", "0") as up:
        up.says("Jobs wait until a worker runs")
        soft, hard = resource.prlimit(up.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(up.process.pid, resource.RLIMIT_NOFILE, (3, hard))
        kill(up.child("keeper"))
        up.says("^keeper cannot be started: Too many open files. It is tried again.$")
        kill(up.child("valkey-server"))
        up.says("^It cannot be started, and is tried again: .*Too many open files")
        # Nor does a process stay down because its log cannot be written.
        (state_dir / "logs").rename(state_dir / "away")
        (state_dir / "logs").write_text("no folder")
        resource.prlimit(up.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        while not {"keeper", "valkey-server"} <= parts(up):
            assert up.process.poll() is None


def parts(up: RunningUp) -> set[str]:
    """What runs of these."""
    commands = " ".join(up.descendants().values())
    return {part for part in ("keeper", "valkey-server") if part in commands}


@contextmanager
def full_pipe() -> Iterator[int]:
    """The end to write into of a pipe that takes no more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, bytes(4096)):
            pass
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    "to",
    [
        ">/dev/full 2>&1",
        *(pytest.param(to, marks=pytest.mark.long) for to in ("<&- >&- 2>&-", "")),
    ],
)
def test_it_needs_nobody_who_reads_what_it_says(
    to: str, state_dir: Path, tiny_models: Path
) -> None:
    port = str(free_port())
    options = ["--port", port, "--workers", "0", "--state-dir", state_dir, "--models", tiny_models]
    command = ["sh", "-c", f'exec "$0" "$@" {to}', *DARKROOM, "up", *map(str, options)]
    with full_pipe() as pipe:
        up = subprocess.Popen(command, env=environment(), stdout=pipe, stderr=pipe)
        try:
            until_it_lives(int(port), up)
        finally:
            up.terminate()
        assert up.wait(90) == 0


def until_it_lives(port: int, up: "subprocess.Popen[bytes]") -> None:
    """Wait until the API answers."""
    while True:
        assert up.poll() is None
        with suppress(httpx2.TransportError):
            assert httpx2.get(f"http://127.0.0.1:{port}/livez").is_success
            return


def test_taken_port_is_named(state_dir: Path, tiny_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = darkroom("up", "--port", port, "--state-dir", state_dir, "--models", tiny_models)
    assert done.returncode == 1
    assert port in done.stderr
    assert "--port" in done.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_of_another_machine_is_named(
    host: str, state_dir: Path, tiny_models: Path
) -> None:
    done = darkroom("up", "--host", host, "--state-dir", state_dir, "--models", tiny_models)
    assert done.returncode == 1
    assert done.stderr.endswith("Name an address of this machine: --host 127.0.0.1\n")
    assert "(" not in done.stderr


def test_a_state_directory_that_cannot_be_is_named(tmp_path: Path, tiny_models: Path) -> None:
    (tmp_path / "file").touch()
    at = ("--state-dir", tmp_path / "file" / "state")
    done = darkroom("up", "--port", "0", *at, "--models", tiny_models)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The state directory ")


def test_child_that_cannot_start_ends_up_with_its_reason(state_dir: Path, tmp_path: Path) -> None:
    done = darkroom("up", "--port", "0", "--state-dir", state_dir, "--models", tmp_path / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no file ")
    assert not (state_dir / "logs").exists()


def test_a_worker_that_cannot_start_ends_up_with_its_last_words(
    state_dir: Path, tiny_models: Path
) -> None:
    done = darkroom(
        "up",
        "--port",
        "0",
        "--state-dir",
        state_dir,
        "--models",
        tiny_models,
        "--worker-models",
        "nobody",
    )
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert '{"' not in done.stderr
    assert "log" in done.stderr


@pytest.mark.long
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_ends_up_with_a_sentence(
    state_dir: Path, tiny_models: Path
) -> None:
    where = ("--port", "0", "--state-dir", state_dir, "--models", tiny_models)
    done = darkroom("up", *where, "--device", "cuda")
    assert done.returncode == 1
    assert "\n  There is no device cuda (--device, DARKROOM_DEVICE): " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["redis://:secret@127.0.0.1:1", "unix:///nowhere/socket"])
def test_a_redis_that_does_not_answer_is_named_before_anything_is_written(
    url: str, tmp_path: Path, tiny_models: Path
) -> None:
    state = tmp_path / "state"
    where = ("--port", "0", "--redis-url", url, "--state-dir", state)
    done = darkroom("up", *where, "--models", tiny_models)
    assert done.returncode == 1
    assert "No Redis can be used at" in done.stderr
    assert "secret" not in done.stderr
    assert not state.exists()


def test_without_workers_it_says_how_to_start_one(state_dir: Path, tiny_models: Path) -> None:
    with RunningUp(state_dir, tiny_models, "--workers", "0") as up:
        hint = up.says("try .*darkroom generate .* --url (\\S+)")
        assert hint[1] in up.output
        said = up.says("Jobs wait until a worker runs: .*darkroom (worker .*)$")
        assert "Ready" not in up.output
        health = darkroom("worker-health", "--state-dir", state_dir)
        assert (health.returncode, health.stderr[:10]) == (1, "No worker ")
        assert said[1].split() == ["worker", "--state-dir", str(state_dir)]


def test_nobody_else_may_read_what_it_writes(state_dir: Path, tiny_models: Path) -> None:
    """Nor ask it anything, where keys are asked for: it makes the first one."""
    before = os.umask(0)
    try:
        with RunningUp(state_dir, tiny_models, "--workers", "0", "--keys", "on") as up:
            at = up.says("key .*The first API key, .* is in (\\S+)$")[1]
            hint = up.says("try *(\\S+) .*darkroom generate .* --url (\\S+)")
            url = hint[2]
            picture = {"prompt": "x", "image": TASKS["image-to-image"].example["image"]}
            key = Path(at).read_text().strip()
            assert key not in up.output
            for headers, status in (({}, 401), ({"X-API-Key": key}, 202)):
                answer = httpx2.post(f"{url}/api/v1/jobs", json=picture, headers=headers)
                assert answer.status_code == status
            assert hint[1] == f"DARKROOM_STATE_DIR={state_dir}"
            there = {"variables": {"DARKROOM_STATE_DIR": str(state_dir)}}
            listed = darkroom("jobs", "ls", "--url", url, **there)
            assert (listed.returncode, "queued" in listed.stdout) == (0, True)
            wrong = darkroom(
                "jobs", "ls", "--url", url, "--key", f"dk_{'0' * 16}_{'0' * 64}", **there
            )
            assert wrong.returncode == 1
            assert "--key or DARKROOM_KEY" in wrong.stderr
            written = [state_dir, *state_dir.rglob("*")]
            names = {"url", "api.log", "lock", "images", "first-key"}
            assert {path.name for path in written} > names
            assert [path for path in written if path.lstat().st_mode & 0o077] == []
    finally:
        os.umask(before)


def test_second_up_in_one_state_directory_is_refused(shared_up: RunningUp) -> None:
    done = darkroom("up", "--port", "0", "--state-dir", shared_up.state_dir)
    assert done.returncode == 1
    assert "Another Darkroom" in done.stderr
