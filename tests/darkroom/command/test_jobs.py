"""Jobs on the command line: listed, shown, found by a part of their id, downloaded."""

import json
import os
from pathlib import Path

from tests.commands import invoke, lines
from tests.running import RunningUp, darkroom


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
    assert lines(canceled.stdout) == [f"{made['id']} succeeded: it had ended already"]
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
    for name, said in {"a.bmp": "pictures end in", "a.jpg": "the format is png"}.items():
        refused = invoke("jobs", "download", made["id"], "-o", f"{folder}/{name}", *at)
        assert refused.exit_code == 1
        assert said in refused.stderr
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


def test_a_job_is_made_again_with_changes(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    made = json.loads(invoke("generate", "cat", "--json", "-o", os.devnull, *at).stdout)
    given = ("--seed", "5", "-f", "num_images=2")
    again = invoke("jobs", "retry", made["id"][-8:], *given, "--json", *at)
    job = json.loads(again.stdout)
    assert job["request"] == made["request"] | {"seed": 5, "num_images": 2}
    shown = invoke("jobs", "show", job["id"], *at).stdout
    assert f"retry of {made['id']}" in " ".join(shown.split())
    assert invoke("jobs", "retry", made["id"], "-f", "nope", *at).exit_code == 2


def test_a_job_is_marked_and_found_by_its_star_and_its_prompt(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    made = json.loads(invoke("generate", "a Zebra", "--json", "-o", os.devnull, *at).stdout)
    told = invoke("jobs", "mark", made["id"], "--star", "--tag", "a", "--tag", "b", *at)
    assert lines(told.stdout) == [f"{made['id']} starred, tags: a, b"]
    for found in (("--starred",), ("--text", "zebra"), ("--starred", "--text", "ZEBRA")):
        assert made["id"][-8:] in invoke("jobs", "ls", *found, *at).stdout
    assert made["id"][-8:] not in invoke("jobs", "ls", "--text", "zebu", *at).stdout
    told = invoke("jobs", "mark", made["id"], "--no-star", *at)
    assert lines(told.stdout) == [f"{made['id']} not starred, tags: a, b"]
    assert invoke("jobs", "mark", made["id"], *at).exit_code == 2
