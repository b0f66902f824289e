"""The command line as people and scripts use it."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from darkroom import __version__
from darkroom.command.cli import app
from darkroom.settings import Settings
from tests.running import DARKROOM, RunningUp, darkroom, environment

NOBODY = "http://127.0.0.1:9"
COMMANDS = [
    "up",
    "api",
    "worker",
    "keeper",
    "worker-health",
    "doctor",
    "generate",
    "demo",
    "version",
    "jobs ls",
    "jobs show",
    "jobs cancel",
    "jobs watch",
    "models ls",
    "models check",
    "models pull",
]


def invoke(*arguments: str) -> Result:
    """A command in this process: quicker, for what needs neither signals nor children."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


def opened(path: str | Path) -> Image.Image:
    """A picture with its file closed again."""
    with Image.open(path) as image:
        image.load()
    return image


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    done = invoke(*command.split(), "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


def test_help_lists_every_command() -> None:
    text = invoke("--help").stdout
    assert [c for c in COMMANDS if f"  {c.split()[0]} " not in text] == []


def test_version() -> None:
    assert invoke("version").stdout.strip() == __version__


def test_every_setting_is_an_option_of_up() -> None:
    text = invoke("up", "--help").stdout
    missing = [n for n in Settings.model_fields if f"--{n.replace('_', '-')} " not in text]
    assert missing == []


@pytest.mark.parametrize(
    "command", ["generate cat", "jobs ls", "jobs show job_1", "jobs cancel x", "models ls"]
)
def test_no_service_is_said_with_what_to_do(command: str) -> None:
    done = invoke(*command.split(), "--url", NOBODY)
    assert done.exit_code == 1
    assert "darkroom up" in done.stderr
    assert NOBODY in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", "3by4"], "--size"),
        (["--strength", "0.5"], "--image"),
        (["--image", "/nowhere.png"], "/nowhere.png"),
        (["-n", "0"], "-n"),
        (["-n", "2", "-o", "-"], "-o"),
        (["--steps", "many"], "--steps"),
        (["--url", "ftp://x"], "ftp://x"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], said: str) -> None:
    done = invoke("generate", "a cat", *arguments)
    assert done.exit_code == (1 if "--url" in arguments else 2)
    assert said in done.stderr


def test_wrong_setting_is_named_by_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_option = invoke("api", "--port", "99999")
    monkeypatch.setenv("DARKROOM_PORT", "x")
    by_variable = invoke("api")
    assert (by_variable.exit_code, by_option.exit_code) == (2, 2)
    assert "DARKROOM_PORT" in by_variable.stderr
    assert "--port" in by_option.stderr


@pytest.mark.parametrize("command", ["api", "worker", "keeper", "worker-health"])
def test_lone_process_needs_a_redis(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DARKROOM_REDIS_URL", raising=False)
    done = invoke(command)
    assert done.exit_code == 2
    assert "DARKROOM_REDIS_URL" in done.stderr


def test_pictures_are_written_and_named(shared_up: RunningUp, tmp_path: Path) -> None:
    done = darkroom(
        *("generate", "A cat, sleeping!", "-n", "2", "--seed", "7", "--size", "24x16"),
        *("--scheduler", "EulerDiscreteScheduler", "--guidance", "2", "--negative", "dog"),
        *("--model", "small", "--url", shared_up.url),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert lines(done.stdout) == [
        "a-cat-sleeping-7.png  seed 7",
        "a-cat-sleeping-8.png  seed 8",
    ]
    image = opened(tmp_path / "a-cat-sleeping-7.png")
    assert image.size == (24, 16)
    request = json.loads(image.text["darkroom"])["request"]
    asked = {
        "negative_prompt": "dog",
        "scheduler": "EulerDiscreteScheduler",
        "guidance_scale": 2.0,
        "num_images": 2,
    }
    assert {name: request[name] for name in asked} == asked
    assert "step 4/4" in done.stderr


def test_same_seed_gives_the_same_picture_and_no_file_is_replaced(
    shared_up: RunningUp, tmp_path: Path
) -> None:
    for _ in range(2):
        assert (
            darkroom(
                "generate", "cat", "--seed", "3", "--url", shared_up.url, cwd=tmp_path
            ).returncode
            == 0
        )
    first, second = tmp_path / "cat-3.png", tmp_path / "cat-3-2.png"
    assert opened(first).tobytes() == opened(second).tobytes()


def test_picture_goes_into_a_pipe_and_starts_from_another(
    shared_up: RunningUp, tmp_path: Path
) -> None:
    made = subprocess.run(
        [*DARKROOM, "generate", "cat", "-o", "-", "--url", shared_up.url],
        env=environment(),
        capture_output=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    (tmp_path / "start.png").write_bytes(made.stdout)
    done = darkroom(
        *("generate", "a dog", "--image", tmp_path / "start.png", "--strength", "0.5", "--json"),
        *("-o", f"{tmp_path}/pictures/", "--url", shared_up.url),
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["request"]["task"] == "image-to-image"
    assert job["progress"]["steps"] == 2
    assert Path(job["files"][0]).parent == tmp_path / "pictures"
    assert opened(job["files"][0]).format == "PNG"


def test_refusal_of_the_service_is_shown(shared_up: RunningUp) -> None:
    def refused(*arguments: str) -> str:
        done = darkroom("generate", "cat", *arguments, "--url", shared_up.url)
        assert done.returncode == 1
        return done.stderr

    assert "num_inference_steps" in refused("--steps", "0")
    assert "tiny" in refused("--model", "tinny")


def test_ctrl_c_cancels_the_job(shared_up: RunningUp) -> None:
    command = [*DARKROOM, "generate", "cat", "--steps", "1000000", "--url", shared_up.url]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as making:
        said = []
        for line in making.stderr:
            said.append(line)
            if re.search(r"denoise  step \d+/1000000  .*s left", line):
                making.send_signal(signal.SIGINT)
                break
        said += making.stderr.readlines()
    assert making.returncode == 1, said
    assert any("canceled" in line for line in said), said
    newest = json.loads(darkroom("jobs", "ls", "--url", shared_up.url, "--json").stdout)[0]
    assert newest["status"] == "canceled"


def test_jobs_are_listed_shown_canceled_and_watched(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    made = json.loads(darkroom("generate", "cat", "--json", "-o", os.devnull, *at).stdout)
    listed = darkroom("jobs", "ls", "--status", "succeeded", "--model", "tiny", *at)
    assert made["id"] in listed.stdout
    assert listed.stdout.startswith("job ")
    shown = darkroom("jobs", "show", made["id"], *at)
    assert "succeeded" in shown.stdout
    assert f"{shared_up.url}/api/v1/images/{made['images'][0]['id']}" in shown.stdout
    canceled = darkroom("jobs", "cancel", made["id"], *at)
    assert lines(canceled.stdout) == [f"{made['id']} succeeded"]
    watched = darkroom("jobs", "watch", made["id"], "--json", *at)
    assert json.loads(lines(watched.stdout)[-1])["status"] == "succeeded"
    unknown = darkroom("jobs", "show", "job_" + "0" * 32, *at)
    assert unknown.returncode == 1


def test_models_are_listed(shared_up: RunningUp) -> None:
    text = darkroom("models", "ls", "--url", shared_up.url).stdout
    assert "tiny or small" in text
    listed = json.loads(darkroom("models", "ls", "--url", shared_up.url, "--json").stdout)
    assert listed[0]["id"] == "tiny"


def test_worker_health_knows_the_workers_of_this_host(shared_up: RunningUp) -> None:
    redis_url = (shared_up.state_dir / "valkey" / "url").read_text()
    well = darkroom("worker-health", "--redis-url", redis_url)
    assert well.returncode == 0, well.stderr
    assert "-1: " in well.stdout
    ill = darkroom("worker-health", "--redis-url", redis_url, "--worker-name", "nobody")
    assert ill.returncode == 1


@pytest.mark.timeout(600)
def test_demo_makes_a_picture_and_leaves_nothing_running(tmp_path: Path) -> None:
    models = Path(__file__).parents[3] / "models.toml"
    done = darkroom("demo", "--state-dir", tmp_path / "state", "--models", models, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path, seed = done.stdout.strip().split("  seed ")
    assert path.startswith("out/")
    assert seed.isdigit()
    assert opened(tmp_path / path).format == "PNG"
    assert "step 25/25" in done.stderr
