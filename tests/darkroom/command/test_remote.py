"""Commands that talk to a running Darkroom: what they say, and what they say when it fails."""

import json
import os
from pathlib import Path

import pytest

from tests.commands import invoke, lines
from tests.running import RunningUp, darkroom

NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "command", ["generate cat", "jobs ls", "jobs show 1234abcd", "jobs cancel abcd", "models ls"]
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

    assert "--steps: Must be at least 1." in refused("--steps", "0")
    assert "There are: tiny" in refused("--model", "tinny")
    told = refused("--scheduler", "DPM++ 2M Karas", "--size", "17x17")
    assert "--scheduler: This model has no scheduler of that name." in told
    assert "Did you mean DPM++ 2M Karras? It has: DDIM, DDPM, DEIS, DPM++ 2M," in told
    assert told.count("--size: ") == 1


def test_jobs_are_listed_shown_canceled_and_watched(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    made = json.loads(darkroom("generate", "cat", "--json", "-o", os.devnull, *at).stdout)
    listed = darkroom("jobs", "ls", "--status", "succeeded", "--model", "tiny", *at)
    assert f"{made['id'][-8:]}  succeeded  tiny" in listed.stdout
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


def test_a_job_is_found_by_a_part_of_its_id_and_downloaded(
    shared_up: RunningUp, tmp_path: Path
) -> None:
    at = ("--url", shared_up.url)
    made = json.loads(
        invoke("generate", "cat", "-n", "2", "--json", "-o", f"{tmp_path}/", *at).stdout
    )
    for part in (made["id"], made["id"][-8:], made["id"][4:], made["id"][:-1]):
        assert lines(invoke("jobs", "show", part, *at).stdout)[0].split() == ["job", made["id"]]
    folder = tmp_path / "again"
    done = invoke("jobs", "download", made["id"][-8:], "-o", f"{folder}/", *at)
    assert done.exit_code == 0, done.stderr
    files = sorted(path.read_bytes() for path in folder.iterdir())
    assert files == sorted(Path(file).read_bytes() for file in made["files"])
    for part in ("xyz", "00000000", "job_"):
        refused = invoke("jobs", "show", part, *at)
        assert refused.exit_code == 1
        assert "is no job's id" in refused.stderr
    other = json.loads(invoke("generate", "dog", "--json", "-o", os.devnull, *at).stdout)
    assert other["id"][:8] == made["id"][:8], "ids begin with the time"
    assert "several jobs" in invoke("jobs", "show", made["id"][:8], *at).stderr


def test_a_job_is_shown_for_people(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    fields = ("-f", 'tags=["a:cat:"]', "-f", 'metadata={"k":"v"}', "-f", "priority=high")
    prompt = "x\nstatus  failed \u202eevil"
    made = json.loads(invoke("generate", prompt, *fields, "--json", "-o", os.devnull, *at).stdout)
    shown = invoke("jobs", "show", made["id"], *at).stdout
    rows = dict(line.split(maxsplit=1) for line in lines(shown))
    assert rows["status"] == "succeeded"
    assert rows["prompt"] == r"x\nstatus  failed \u202eevil"
    assert rows["tags"] == "a:cat:"
    assert rows["metadata"] == '{"k": "v"}'
    assert rows["priority"] == "high"
    assert rows["seconds"].partition(":")[0].replace(".", "").isdigit()
    assert len(rows["created"].split()) == 3, "date, time and zone"
    assert not {"None", "True", "False", "{'"} & set(shown.split())


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
