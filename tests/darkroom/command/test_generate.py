"""From a prompt to files, against a running Darkroom."""

import io
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from darkroom.client.client import Client
from darkroom.command.generate import generate_pictures
from darkroom.command.wish import Wish
from tests.commands import invoke, lines, opened
from tests.running import DARKROOM, RunningUp, darkroom, environment


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


def test_ctrl_c_cancels_the_job(shared_up: RunningUp) -> None:
    command = [*DARKROOM, "generate", "cat", "--steps", "400", "--url", shared_up.url]
    with subprocess.Popen(
        command,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs are deaf to it, and so are their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as making:
        said = []
        for line in making.stderr:
            said.append(line)
            if re.search(r"denoise  step \d+/400  .*s left", line):
                making.send_signal(signal.SIGINT)
                break
        said += making.stderr.readlines()
    assert making.returncode == 130, said
    assert any("canceled" in line for line in said), said
    newest = json.loads(darkroom("jobs", "ls", "--url", shared_up.url, "--json").stdout)[0]
    assert newest["status"] == "canceled"


class _InAFinaliser:
    """Where Python drops what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        for _ in range(2):  # handlers run where a loop begins anew
            pass


class _Pressing(io.StringIO):
    """Has Ctrl-C pressed in a finaliser when the first step of the job is told."""

    pressed = False

    def write(self, text: str) -> int:
        if "step" in text and not self.pressed:
            self.pressed = True
            _InAFinaliser()
        return super().write(text)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_in_a_finaliser(shared_up: RunningUp) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    told = _Pressing()
    wish = Wish.of("cat", num_inference_steps=400, output=os.devnull)
    try:
        with Client(shared_up.url) as client, pytest.raises(KeyboardInterrupt):
            generate_pictures(client, wish, Console(file=told))
        assert told.pressed
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    newest = json.loads(darkroom("jobs", "ls", "--url", shared_up.url, "--json").stdout)[0]
    assert newest["status"] == "canceled"


def test_a_picture_that_cannot_be_written_is_named(shared_up: RunningUp, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    file = tmp_path / "taken" / "cat.png"

    def newest() -> str:
        return invoke("jobs", "ls", "--json", "--limit", "1", "--url", shared_up.url).stdout

    before = newest()
    done = invoke("generate", "cat", "-o", str(file), "--url", shared_up.url)
    assert done.exit_code == 1
    assert f"there is no folder {file.parent}" in done.stderr
    assert newest() == before, "no job is made whose picture has no place"
