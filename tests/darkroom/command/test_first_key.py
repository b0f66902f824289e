"""The first key: made where there is none, for its owner's eyes alone."""

import stat
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from darkroom.api_keys import fits, new_key, parse
from darkroom.command.first_key import found_key, make_first_key
from darkroom.command.valkey import RedisServer
from darkroom.private import STATE
from darkroom.queue.api_keys import all_keys, put
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts


def test_it_is_written_where_its_owner_alone_reads_it(
    valkey: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    file = tmp_path / "first-key"
    file.write_text("one of a Redis that is lost")
    file.chmod(0o644)
    [said] = make_first_key(valkey.url, tmp_path)
    assert str(file) in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = parse(found_key(tmp_path))
    assert token.secret not in said
    [key] = Client(redis).carry_out(all_keys())
    assert fits(token, key)
    assert (key.name, key.allows("admin"), key.expires_at) == ("first", True, None)
    assert make_first_key(valkey.url, tmp_path) == []
    assert file.name in STATE


def test_on_a_terminal_it_is_shown_once_and_not_written(
    valkey: RedisServer, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    (tmp_path / "first-key").write_text("an old one")
    [said] = make_first_key(valkey.url, tmp_path)
    [key] = Client(redis).carry_out(all_keys())
    assert fits(parse(said.rpartition(" ")[2]), key)
    assert list(tmp_path.iterdir()) == []
    assert found_key(tmp_path) is None


def test_one_that_expired_is_none(valkey: RedisServer, redis: Redis, tmp_path: Path) -> None:
    client = Client(redis, scripts(PLAIN_RULES))
    gone, _ = new_key("first", life=timedelta(days=1))
    client.carry_out(put(gone.model_copy(update={"expires_at": gone.created_at})))
    assert make_first_key(valkey.url, tmp_path)
    _, key = client.carry_out(all_keys())
    assert (key.name, fits(parse(found_key(tmp_path)), key)) == ("first-2", True)


def test_one_that_cannot_be_written_is_not_kept(
    valkey: RedisServer, redis: Redis, tmp_path: Path
) -> None:
    (tmp_path / "first-key" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="irectory"):
        make_first_key(valkey.url, tmp_path)
    assert Client(redis).carry_out(all_keys()) == []
