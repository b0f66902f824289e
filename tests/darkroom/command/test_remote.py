"""Commands that talk to a running Darkroom: what they say, and what they say when it fails."""

import json
import os

import pytest

from tests.commands import invoke, lines
from tests.running import RunningUp, darkroom

NOBODY = "http://127.0.0.1:9"


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


def test_refusal_of_the_service_is_shown(shared_up: RunningUp) -> None:
    def refused(*arguments: str) -> str:
        done = darkroom("generate", "cat", *arguments, "--url", shared_up.url)
        assert done.returncode == 1
        return done.stderr

    assert "num_inference_steps" in refused("--steps", "0")
    assert "tiny" in refused("--model", "tinny")


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


def test_a_job_without_a_picture_ends_with_status_1(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    made = invoke("generate", "cat", "-f", "deadline_s=0.001", *at)
    assert made.exit_code == 1
    assert made.stdout == ""
    [canceled] = json.loads(invoke("jobs", "ls", "--limit", "1", "--json", *at).stdout)
    said = f"{canceled['id']} canceled"
    assert said in made.stderr
    watched = invoke("jobs", "watch", canceled["id"], *at)
    assert watched.exit_code == 1
    assert said in watched.stderr
