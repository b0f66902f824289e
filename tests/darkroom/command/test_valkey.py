"""The embedded Valkey: durable, private, one per directory, gone when stopped."""

import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError, ResponseError

from darkroom.command import valkey
from darkroom.command.valkey import RedisServer, embedded_url, memory_mb
from darkroom.errors import QueueUnavailableError
from darkroom.queue.connection import connect
from tests.running import wait_until_gone


@pytest.fixture(params=["unix socket", "loopback port"])
def state_dir(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty state directory whose path is short enough for a socket, and one too long for it."""
    if request.param == "loopback port":
        yield request.getfixturevalue("tmp_path") / ("d" * valkey.LONGEST_SOCKET_PATH)
        return
    with tempfile.TemporaryDirectory() as short:  # tmp_path may be too long itself
        yield Path(short) / "state"


def test_keeps_what_was_written_across_a_restart(state_dir: Path) -> None:
    urls = set()
    for expected in (None, b"kept"):
        with RedisServer(state_dir) as server, connect(server.url) as redis:
            urls.add(server.url)
            assert redis.get("key") == expected
            redis.set("key", "kept")
    assert len(urls) == 1, "clients find it where it was"


def test_a_port_taken_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    long = tmp_path / ("d" * valkey.LONGEST_SOCKET_PATH)
    with RedisServer(long) as server:
        before = urlsplit(server.url).port
    with socket.create_server(("127.0.0.1", before)), RedisServer(long) as server:
        assert urlsplit(server.url).port != before


def test_survives_a_kill_of_the_server(state_dir: Path) -> None:
    with RedisServer(state_dir) as server, connect(server.url) as redis:
        redis.set("key", "kept")
        os.kill(server.pid, signal.SIGKILL)
    with RedisServer(state_dir) as server, connect(server.url) as redis:
        assert redis.get("key") == b"kept"


def test_is_durable_and_never_evicts(redis: Redis) -> None:
    config = redis.config_get("append*") | redis.config_get("maxmemory-policy")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["maxmemory-policy"] == "noeviction"


def test_directory_and_socket_are_private(state_dir: Path) -> None:
    with RedisServer(state_dir) as server:
        for path in (server.dir, *server.dir.glob("socket")):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.dir / "url").stat().st_mode) == 0o600


def test_long_directory_gets_a_loopback_port_with_a_password(tmp_path: Path) -> None:
    long = tmp_path / ("d" * valkey.LONGEST_SOCKET_PATH)
    with RedisServer(long) as server:
        assert server.url.startswith("redis://:")
        with connect(server.url) as redis:
            assert redis.ping()
            assert redis.config_get("bind") == {"bind": "127.0.0.1"}
        address = server.url.rpartition("@")[2]
        with (
            connect(f"redis://{address}") as stranger,
            pytest.raises(AuthenticationError),
        ):
            stranger.ping()


def test_directory_name_with_quotes_and_spaces(tmp_path: Path) -> None:
    with RedisServer(tmp_path / 'a "b" c') as server, connect(server.url) as redis:
        assert redis.ping()


def test_directory_belongs_to_one_owner(state_dir: Path) -> None:
    with RedisServer(state_dir) as server:
        with pytest.raises(QueueUnavailableError, match="Another Darkroom"):
            RedisServer(state_dir).start()
        assert server.pid


OWNER = """
import sys, time
from pathlib import Path
import darkroom.command.valkey
from darkroom.command.valkey import RedisServer
if sys.argv[2] == "untied":  # as on a system that cannot tie a child to its parent
    darkroom.command.valkey.tether = lambda: None
server = RedisServer(Path(sys.argv[1]))
server.start()
print(server.pid, server.url, flush=True)
time.sleep(5)
"""


def test_server_of_a_killed_owner_is_replaced(state_dir: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(state_dir), "untied"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        _, url = owner.stdout.readline().split()
        owner.kill()
    with connect(url) as redis:
        redis.set("key", "kept")
        orphan = redis.info("server")["process_id"]
        with RedisServer(state_dir) as server:
            assert not wait_until_gone({orphan}), "it has ended"
            assert redis.get("key") == b"kept"
            assert redis.info("server")["process_id"] == server.pid


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's parent-death signal")
def test_server_ends_with_its_killed_owner(state_dir: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(state_dir), "tied"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        server, _ = owner.stdout.readline().split()
        handle = os.pidfd_open(int(server))
        owner.kill()
    with os.fdopen(handle):
        assert select.select([handle], [], [], 20)[0]


def test_stop_ends_the_process(state_dir: Path) -> None:
    server = RedisServer(state_dir)
    server.start()
    pid = server.pid
    server.stop()
    assert server.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    server.stop()


def test_failure_to_start_shows_the_log_and_gives_the_directory_free(state_dir: Path) -> None:
    server = RedisServer(state_dir)
    (server.dir / "appendonlydir").parent.mkdir(parents=True)
    (server.dir / "appendonlydir").write_text("a file where Valkey wants a directory")
    with pytest.raises(QueueUnavailableError, match="appendonlydir"):
        server.start()
    (server.dir / "appendonlydir").unlink()
    with server:
        assert server.pid


def test_client_fails_within_a_second_and_never_at_once(state_dir: Path) -> None:
    with connect(f"unix://{state_dir}/nothing-here") as redis:
        start = time.monotonic()
        with pytest.raises(ConnectionError):
            redis.ping()
        assert 0.05 < time.monotonic() - start < 1.0


def test_a_full_server_refuses_and_loses_nothing(state_dir: Path) -> None:
    with RedisServer(state_dir, max_mb=64) as server, Redis.from_url(server.url) as redis:
        assert redis.config_get("maxmemory")["maxmemory"] == str(64 * 2**20)
        redis.set("a", "x" * 1_000_000)
        fill = "for i = 1, 100 do redis.call('SET', i, string.rep('x', 1000000)) end"
        redis.eval(fill, 0)
        with pytest.raises(ResponseError, match="maxmemory"):
            redis.set("b", "x")
        assert redis.strlen("a") == 1_000_000


def test_a_running_server_is_found_by_its_state_directory(state_dir: Path) -> None:
    assert embedded_url(state_dir) is None
    with RedisServer(state_dir) as server:
        assert embedded_url(state_dir) == server.url
    assert embedded_url(state_dir) is None


def test_room_for_what_the_settings_allow() -> None:
    assert memory_mb(max_queued=1000, max_kept_mb=512) == 893
    assert memory_mb(max_queued=10_000, max_kept_mb=512) > 1000 + 512
