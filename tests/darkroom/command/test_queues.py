"""Queues on the command line: listed, paused, resumed."""

import json
import os

from tests.commands import invoke, lines
from tests.running import RunningUp


def test_queues_are_listed_paused_and_resumed(shared_up: RunningUp) -> None:
    at = ("--url", shared_up.url)
    assert invoke("generate", "cat", "-o", os.devnull, *at).exit_code == 0
    try:
        paused = invoke("queue", "pause", "small", "--json", *at)
        assert json.loads(paused.stdout) == {"all": False, "models": ["tiny"]}
        listed = invoke("queue", "ls", *at)
        assert lines(listed.stdout)[0].split()[0] == "queue"
        (row,) = [line for line in lines(listed.stdout) if line.startswith("tiny.normal")]
        assert row.endswith("paused")
        assert "Paused: tiny." in listed.stderr
        assert "go on with: darkroom queue resume" in invoke("queue", "pause", *at).stdout
        refused = invoke("queue", "pause", "tinny", *at)
        assert (refused.exit_code, "Did you mean tiny" in refused.stderr) == (1, True)
    finally:
        resumed = invoke("queue", "resume", *at)
    assert lines(resumed.stdout) == ["Paused: nothing."]
    assert not json.loads(invoke("queue", "ls", "--json", *at).stdout)["data"][0]["paused"]
