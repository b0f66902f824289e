"""The command line as people and scripts use it."""

from pathlib import Path

import pytest

from darkroom import __version__
from darkroom.command import flags
from darkroom.settings import Settings
from tests.commands import invoke, lines
from tests.running import RunningUp, darkroom

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
    "mcp",
    "jobs ls",
    "jobs show",
    "jobs cancel",
    "jobs watch",
    "jobs download",
    "models ls",
    "models check",
    "models pull",
    "models add",
    "models convert",
    "models remove",
    "keys create",
    "keys ls",
    "keys revoke",
    "keys rotate",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    done = invoke(*command.split(), "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize("group", [[], ["jobs"], ["models"], ["keys"]])
def test_help_fits_a_terminal(group: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert "..." not in invoke(*group, "--help").stdout.replace("[ARGS]...", "")


def test_settings_are_grouped() -> None:
    text = invoke("up", "--help").stdout
    assert [title for title in flags.GROUPS if f"{title}:" not in text] == []
    assert "DARKROOM_..." in text


def test_help_lists_every_command() -> None:
    text = invoke("--help").stdout
    assert [c for c in COMMANDS if f"  {c.split()[0]} " not in text] == []


def test_version() -> None:
    assert invoke("version").stdout.strip() == __version__
    assert invoke("--version").stdout.strip() == __version__


def test_every_setting_is_an_option_of_up() -> None:
    text = invoke("up", "--help").stdout
    missing = [n for n in Settings.model_fields if f"--{n.replace('_', '-')} " not in text]
    assert missing == []


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


def test_a_mistyped_setting_is_told_where_something_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_LEASES", "3")
    warned = "Warning: DARKROOM_LEASES is no setting and is ignored. Did you mean DARKROOM_LEASE_S?"
    for command in ("api", "worker", "keeper"):
        assert warned in lines(invoke(command).stderr), command
    up = darkroom(
        *("up", "--models", "none.toml"), cwd=tmp_path, variables={"DARKROOM_LEASES": "3"}
    )
    assert lines(up.stderr)[0] == warned
    assert "DARKROOM_LEASES" not in invoke("worker-health").stderr


@pytest.mark.parametrize("command", ["api", "worker", "keeper", "worker-health"])
def test_lone_process_needs_a_redis(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DARKROOM_REDIS_URL", raising=False)
    done = invoke(command)
    assert done.exit_code == 2
    assert "DARKROOM_REDIS_URL" in done.stderr


def test_worker_health_knows_the_workers_of_this_host(shared_up: RunningUp) -> None:
    redis_url = (shared_up.state_dir / "valkey" / "url").read_text()
    well = darkroom("worker-health", "--redis-url", redis_url)
    assert well.returncode == 0, well.stderr
    assert "-1: " in well.stdout
    ill = darkroom("worker-health", "--redis-url", redis_url, "--worker-name", "nobody")
    assert ill.returncode == 1
