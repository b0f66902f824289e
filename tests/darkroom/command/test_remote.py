"""Commands that talk to a running Darkroom: what they say, and what they say when it fails."""

import json
from pathlib import Path

import pytest

from darkroom.api_keys import new_key
from darkroom.command.remote import client_of
from tests.commands import invoke
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


def test_the_key_that_up_left_is_for_this_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (given, left) = (new_key(name)[1].reveal() for name in ("given", "left"))
    (tmp_path / "first-key").write_text(f"{left}\n")
    monkeypatch.setenv("DARKROOM_STATE_DIR", str(tmp_path))

    def sent(url: str, key: str | None = None) -> str | None:
        with client_of(url, key) as client:
            return client._http.headers.get("authorization")

    assert sent("http://127.0.0.1:1") == sent("http://localhost:1") == f"Bearer {left}"
    assert sent("http://127.0.0.1:1", given) == sent("http://x.example", given) == f"Bearer {given}"
    assert sent("http://x.example") is None
    monkeypatch.setenv("DARKROOM_STATE_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("DARKROOM_PORT", "what a client does not need")
    assert sent("http://127.0.0.1:1") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", "3by4"], "--size"),
        (["--strength", "0.5"], "--image"),
        (["--image", "/nowhere.png"], "/nowhere.png"),
        (["-n", "0"], "-n"),
        (["-n", "2", "-o", "-"], "-o"),
        (["--steps", "many"], "'--steps': Must be a whole number."),
        (["--guidance", "much"], "'--guidance': Must be a number."),
        (["-n", "0"], "Must be at least 1."),
        (["--format", "gif"], "'--format': 'gif' is not one of 'png', 'jpeg', 'webp'."),
        (["--url", "ftp://x"], "ftp://x"),
    ],
)
def test_wrong_usage_is_named(arguments: list[str], said: str) -> None:
    done = invoke("generate", "a cat", *arguments)
    assert done.exit_code == (1 if "--url" in arguments else 2)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "cat"], "the prompt goes in quotes"),
        (["--prompt", "a cat"], "the prompt is the argument"),
        (["--prompt=a cat", "--seed", "1"], "the prompt is the argument"),
        (["cat", "--sed", "1"], "No such option: --sed"),
    ],
)
def test_a_prompt_in_the_wrong_place_is_told_where_it_goes(arguments: list[str], said: str) -> None:
    done = invoke("generate", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert ("the prompt" in done.stderr) == ("the prompt" in said)


def test_refusal_of_the_service_is_shown(shared_up: RunningUp) -> None:
    def refused(*arguments: str) -> str:
        done = darkroom("generate", "cat", "--url", shared_up.url, *arguments)
        assert done.returncode == 1
        return done.stderr

    assert "--steps: Must be at least 1." in refused("--steps", "0")
    assert "There are: tiny" in refused("--model", "tinny")
    assert "--field output.quality: " in refused("-f", "output.quality=500")
    assert "--format: " in refused("-f", "output.format=gif")
    assert "It ends at the port." in refused("--url", f"{shared_up.url}/api/v1")
    told = refused("--scheduler", "DPM++ 2M Karas", "--size", "17x17")
    assert "--scheduler: This model has no scheduler of that name." in told
    assert "Did you mean DPM++ 2M Karras? It has: DDIM, DDPM, DEIS, DPM++ 2M," in told
    assert told.count("--size: ") == 1


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


def test_a_dry_run_says_what_it_would_take_and_makes_nothing(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    before = invoke("jobs", "ls", "--json", *at).stdout
    given = ("a narwhal", "--steps", "3", "--dry-run")
    told = json.loads(invoke("generate", *given, "--json", *at).stdout)
    assert (told["request"]["prompt"], told["position"]) == ("a narwhal", 0)
    said = invoke("generate", *given, *at).stdout
    assert f"seconds of work  {told['work_s']:.1f} ({told['work_source']})" in said
    assert "workers          " + ", ".join(told["workers"]) in said
    refused = invoke("generate", "a narwhal", "--size", "7", "--dry-run", *at)
    assert (refused.exit_code, "--size: " in refused.stderr) == (1, True)
    assert invoke("jobs", "ls", "--json", *at).stdout == before
