"""The service as a process of its own."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.service.wire import JSON, connected, head, until_closed


@pytest.fixture
def environment(models_toml, valkey, tmp_path) -> dict[str, str]:
    return os.environ | {
        "DARKROOM_REDIS_URL": valkey.url,
        "DARKROOM_MODELS": str(models_toml),
        "DARKROOM_STATE_DIR": str(tmp_path),
        "DARKROOM_PORT": "0",
    }


@pytest.fixture
def process(environment):
    with subprocess.Popen(
        [sys.executable, "-m", "service"], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.kill()


def url_of(process: subprocess.Popen) -> str:
    for line in process.stderr:
        if found := re.search(r"http://[0-9.]+:\d+", line):
            return found[0]
    raise AssertionError("it never listened")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_by_a_signal_and_ends_its_streams(process, redis, number):  # noqa: ARG001
    url = url_of(process)
    job = httpx2.post(url + "/api/v1/jobs", json={"prompt": "a cat"}).json()
    with httpx2.stream("GET", url + job["urls"]["events"], timeout=15) as response:
        lines = response.iter_lines()
        assert next(lines) == "event: status"
        process.send_signal(number)
        list(lines)
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


@pytest.mark.long
def test_more_connections_than_files_harm_nobody_and_fill_no_log(environment, tmp_path):
    environment = environment | {"DARKROOM_HEADER_TIMEOUT_S": "0.5"}
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "service"], stderr=log, env=environment, preexec_fn=few_files
        ) as process,
        ExitStack() as open_ones,
    ):
        open_ones.callback(process.kill)
        while not (found := re.search(r"http://[0-9.]+:\d+", Path(log.name).read_text())):
            assert process.poll() is None
        clients = [open_ones.enter_context(connected(found[0])) for _ in range(150)]
        for client in clients:
            until_closed(client)
        assert httpx2.get(found[0] + "/livez").status_code == 200
        lines = Path(log.name).read_text().splitlines()
    assert len(lines) < 150
    assert all(json.loads(line)["event"] for line in lines)


@pytest.mark.long
def test_ends_in_time_whoever_is_connected(process, redis):  # noqa: ARG001
    """Those who send half a body or read nothing get the grace period, no more."""
    url = url_of(process)
    half = head("POST /api/v1/jobs HTTP/1.1", JSON, "Content-Length: 500") + b"{"
    with ExitStack() as open_ones:
        for sent in (b"", b"GET /livez", half, head("GET /openapi.json HTTP/1.1") * 400):
            for _ in range(10):
                open_ones.enter_context(connected(url)).sendall(sent)
        assert httpx2.get(url + "/livez").status_code == 200
        process.terminate()
        assert process.wait(14) == 0
    assert "Traceback" not in process.stderr.read()


def test_ends_where_the_port_is_taken(environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            [sys.executable, "-m", "service"],
            env=environment | {"DARKROOM_PORT": str(taken.getsockname()[1])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    [said] = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert said.startswith("darkroom: The API cannot listen on 127.0.0.1, port ")
    assert "in use. Name another port: --port" in said
    assert "[Errno" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"DARKROOM_REDIS_URL": ""}, "DARKROOM_REDIS_URL"),
        ({"DARKROOM_MODELS": "none.toml"}, "none"),
    ],
)
def test_what_an_operator_has_to_mend_is_one_sentence(models_toml, tmp_path, setting, sentence):
    environment = {"DARKROOM_REDIS_URL": "redis://x", "DARKROOM_MODELS": str(models_toml)} | setting
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=Path(__file__).parents[2],
        env=os.environ | environment | {"DARKROOM_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
