"""The service as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest


@pytest.fixture
def process(models_toml, valkey, tmp_path):
    environment = os.environ | {
        "DARKROOM_REDIS_URL": valkey.url,
        "DARKROOM_MODELS": str(models_toml),
        "DARKROOM_STATE_DIR": str(tmp_path),
        "DARKROOM_PORT": "0",
    }
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
