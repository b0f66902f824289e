"""Grids on the command line: what they mean, and a sweep against a running Darkroom."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from darkroom.client.client import Client
from darkroom.command.generate import GenerateError
from darkroom.command.sweeps import make_sweep, read_grid
from darkroom.job import JobStatus
from tests.commands import invoke, opened
from tests.running import RunningUp
from tests.scripted import Service, batch


def test_values_are_json_or_text():
    assert read_grid(["seed=1,2", "scheduler=ddim,Euler a", "guidance_scale=1.5"]) == {
        "seed": [1, 2],
        "scheduler": ["ddim", "Euler a"],
        "guidance_scale": [1.5],
    }
    assert read_grid(['prompt=["a, b", "c"]', "tags=[", "seed=null,1"]) == {
        "prompt": ["a, b", "c"],
        "tags": ["["],
        "seed": [None, 1],
    }


@pytest.mark.parametrize("wrong", [["seed"], ["=1"], ["seed=1", "seed=2"]])
def test_what_is_no_grid_is_refused(wrong):
    with pytest.raises(ValueError, match="--grid"):
        read_grid(wrong)


def test_a_sweep_names_its_files_by_their_cells(shared_up: RunningUp, tmp_path: Path) -> None:
    at = ("--url", shared_up.url, "-o", f"{tmp_path}/")
    grid = ("--grid", "seed=3,4", "--grid", "guidance_scale=1,2.5")
    done = invoke("generate", "A cat!", *grid, *at)
    assert done.exit_code == 0, done.stderr
    assert [Path(line).name for line in done.stdout.split()] == [
        "a-cat_guidance_scale-1_seed-3.png",
        "a-cat_guidance_scale-2.5_seed-3.png",
        "a-cat_guidance_scale-1_seed-4.png",
        "a-cat_guidance_scale-2.5_seed-4.png",
    ]
    assert "4 of 4 done" in done.stderr
    for file in done.stdout.split():
        request = json.loads(opened(file).text["darkroom"])["request"]
        assert f"guidance_scale-{request['guidance_scale']:g}_seed-{request['seed']}" in file

    prompts = ("--grid", 'prompt=["a dog","a pig, pink"]', "--seed", "3", "--json")
    told = json.loads(invoke("generate", *prompts, *at).stdout)
    assert [Path(file).name for file in told["files"]] == [
        "prompt-a-dog_seed-3.png",
        "prompt-a-pig-pink_seed-3.png",
    ]
    assert told["counts"]["succeeded"] == 2

    foreseen = invoke("generate", "a cat", *grid, "--dry-run", *at)
    assert foreseen.stdout.splitlines()[0].split() == ["jobs", "4"]
    as_json = invoke("generate", "a cat", *grid, "--dry-run", "--json", *at).stdout
    assert len(json.loads(as_json)["jobs"]) == 4


def test_what_is_wrong_with_a_sweep_is_said_in_options(
    shared_up: RunningUp, tmp_path: Path
) -> None:
    at = ("--url", shared_up.url, "-o", f"{tmp_path}/")

    def refused(*given: str) -> str:
        done = invoke("generate", "a cat", *at, *given)
        assert done.exit_code != 0
        return done.stderr

    assert "--grid width: Must be" in refused("--grid", "width=8,7")
    assert "--grid seed: Stands in the request" in refused("--grid", "seed=1", "--seed", "1")
    assert "--size" in refused("--grid", "seed=1,2", "--size", "7")
    assert "name a folder" in refused("--grid", "seed=1,2", "-o", "cat.png")
    assert list(tmp_path.iterdir()) == []


def test_what_failed_of_a_sweep_is_said_in_the_end(tmp_path: Path) -> None:
    error = {"code": "out_of_memory", "message": "It did not fit."}
    failed = batch(JobStatus.FAILED, JobStatus.FAILED, error=error, warnings=["Mind this."])
    console = Console(file=io.StringIO())
    with (
        Service(failed, failed) as service,
        Client(service.url) as client,
        pytest.raises(GenerateError, match="2 of 2 jobs have no picture") as raised,
    ):
        make_sweep(client, {}, {"seed": [1, 2]}, f"{tmp_path}/", console)
    assert "job_1 failed: It did not fit. (out_of_memory)" in str(raised.value)
    assert console.file.getvalue().count("Warning: Mind this.") == 1


def test_ctrl_c_cancels_all_of_a_sweep(tmp_path: Path) -> None:
    running = batch(JobStatus.RUNNING)
    console = Console(file=io.StringIO())
    with Service(running, batch(JobStatus.CANCELED)) as service, Client(service.url) as client:
        client.follow_batch = interrupted
        with pytest.raises(KeyboardInterrupt):
            make_sweep(client, {}, {"seed": [1]}, f"{tmp_path}/", console)
    assert service.asked[-1].path == "/api/v1/batches/batch_1/cancel"


def interrupted(_: str) -> None:
    raise KeyboardInterrupt
