"""`darkroom keys` as people and scripts use it."""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import Result

from darkroom.api_keys import fits, parse
from darkroom.command.valkey import RedisServer
from darkroom.private import open_file
from darkroom.queue.api_keys import all_keys, get
from darkroom.queue.exchange import Client
from tests.commands import invoke
from tests.running import DARKROOM


@pytest.fixture
def keys(valkey: RedisServer, redis: Redis):  # noqa: ARG001
    def run(*arguments: str) -> Result:
        return invoke("keys", *arguments, "--redis-url", valkey.url, "--log-format", "json")

    return run


def test_a_key_from_its_making_to_its_end(keys, redis: Redis) -> None:
    made = keys("create", "web", "--expires", "30d")
    assert made.exit_code == 0
    token = parse(made.stdout.removesuffix("\n"))  # so that $(darkroom keys create web) is it
    key = Client(redis).carry_out(get(token.id))
    assert fits(token, key)
    assert (key.name, key.scopes) == ("web", ("read", "submit"))
    assert 29.9 < key.left_s() / 86400 <= 30

    listed = keys("ls").stdout
    assert [part in listed for part in ("web", token.id, "read, submit")] == [True] * 3
    rotated = parse(keys("rotate", "web").stdout.strip())
    key = Client(redis).carry_out(get(token.id))
    assert (rotated.id, fits(token, key), fits(rotated, key)) == (token.id, False, True)
    assert keys("revoke", "web").exit_code == 0
    assert Client(redis).carry_out(all_keys()) == []
    for secret in (token.secret, rotated.secret):
        assert secret not in listed + made.stderr


def test_each_action_leaves_a_line_that_holds_no_secret(keys) -> None:
    said = [keys("create", "web"), keys("rotate", "web"), keys("revoke", "web")]
    token = parse(said[0].stdout.strip())
    lines = [json.loads(done.stderr.splitlines()[0]) for done in said]
    told = [(line["event"], line["key_id"], line["name"]) for line in lines]
    events = ("key_created", "key_rotated", "key_revoked")
    assert told == [(event, token.id, "web") for event in events]
    for done in said:
        secrets = [parse(line).secret for line in done.stdout.splitlines()]
        assert [each for each in secrets if each in done.stderr] == []


def test_what_lies_in_the_state_directory_stays_true(keys, tmp_path: Path) -> None:
    here = ("--state-dir", str(tmp_path))
    made = keys("create", "web").stdout
    keys("create", "other")
    with open_file(tmp_path / "first-key", "xb") as file:
        file.write(made.encode())
    assert "first-key" not in keys("rotate", "other", *here).stderr
    assert (tmp_path / "first-key").read_text() == made
    rotated = keys("rotate", "web", *here)
    assert str(tmp_path / "first-key") in rotated.stderr
    assert (tmp_path / "first-key").read_text() == rotated.stdout
    assert stat.S_IMODE((tmp_path / "first-key").stat().st_mode) == 0o600
    keys("revoke", "web", *here)
    assert not (tmp_path / "first-key").exists()


def test_json(keys) -> None:
    made = json.loads(keys("create", "web", "--scope", "admin", "--json").stdout)
    assert parse(made.pop("key")).id == made["id"]
    assert made["scopes"] == ["admin"]
    assert made["expires_at"] is None
    assert json.loads(keys("ls", "--json").stdout) == [made]


def test_limits(keys) -> None:
    given = ("--max-active", "4", "--max-queued", "20", "--per-minute", "60")
    made = json.loads(keys("create", "web", *given, "--json").stdout)
    others = dict.fromkeys(("share", "gpu_seconds_per_day", "weight"))
    assert made["limits"] == {"max_active": 4, "max_queued": 20, "per_minute": 60, **others}
    assert "max_active=4, max_queued=20, per_minute=60" in " ".join(keys("ls").stdout.split())
    changed = keys("limit", "web", "--max-active", "none", "--per-minute", "120")
    assert (changed.exit_code, changed.stdout) == (0, "")
    assert json.loads(changed.stderr.splitlines()[0])["event"] == "key_limited"
    [told] = json.loads(keys("ls", "--json").stdout)
    assert told["limits"] == {"max_active": None, "max_queued": 20, "per_minute": 120, **others}
    more = ("--share", "10", "--gpu-seconds-per-day", "3600", "--weight", "3")
    assert keys("limit", "web", *more, "--max-queued", "none").exit_code == 0
    [told] = json.loads(keys("ls", "--json").stdout)
    given = {"per_minute": 120, "share": 10, "gpu_seconds_per_day": 3600, "weight": 3}
    assert {name: limit for name, limit in told["limits"].items() if limit} == given
    rotated = keys("rotate", "web", "--json")
    assert json.loads(rotated.stdout)["limits"] == told["limits"]


def test_what_goes_wrong_is_told(keys, valkey: RedisServer) -> None:
    assert keys("ls").stderr == "No keys.\n"
    assert keys("create", "web").exit_code == 0
    for arguments, said, status in [
        (("create", "web"), "There is a key 'web' already", 1),
        (("create", "a\nb"), "no control characters", 1),
        (("create", "x", "--scope", "write"), "'write' is none of read, submit, admin", 2),
        (("create", "x", "--expires", "soon"), "'soon' is no time such as 30d", 2),
        (("create", "x", "--share", "101"), "'101' is no number from 1 to 100, and", 2),
        (("create", "x", "--weight", "0"), "'0' is no number from 1 to 100, and", 2),
        (("create", "x", "--per-minute", "0"), "'0' is no number from 1 to 1000000", 2),
        (("limit", "other", "--max-active", "1"), "No key is called 'other'", 1),
        (("revoke", "other"), "No key is called 'other'. There are: web.", 1),
        (("rotate", "other"), "No key is called 'other'", 1),
    ]:
        done = keys(*arguments)
        assert (done.exit_code, done.stdout) == (status, "")
        assert said in done.stderr
    # The state directory of a running `darkroom up` does as well.
    found = invoke("keys", "ls", "--json", "--state-dir", str(valkey.dir.parent))
    assert [key["name"] for key in json.loads(found.stdout)] == ["web"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_one_that_cannot_be_shown_says_so(valkey: RedisServer, redis: Redis) -> None:  # noqa: ARG001
    command = [*DARKROOM, "keys", "create", "web", "--redis-url", valkey.url]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert "darkroom keys rotate 'web'" in done.stderr
    assert "Traceback" not in done.stderr
