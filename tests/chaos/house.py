"""A Darkroom of real processes that can be hurt in every way: Valkey behind a proxy, APIs, keepers,
workers, and a disk of their own; used from the main thread of a test or of a run."""

import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
from redis import Redis
from redis.exceptions import RedisError

from darkroom.command.valkey import RedisServer
from darkroom.ports import free_port
from darkroom.queue.lua import Rules, scripts
from darkroom.settings import Settings
from tests.chaos.proxy import Link, Proxy
from tests.chaos.spawn import ROOT, Zygote

DEFAULTS: dict[str, Any] = {
    "lease_s": 2,
    "grace_s": 4,
    "step_timeout_s": 10,
    "keeper_interval_s": 0.3,
    "torch_threads": 1,
    "log_format": "json",
    "log_level": "info",
}

Value = TypeVar("Value")


@dataclass(eq=False)
class Member:
    """One process of the house; a worker is the supervisor's."""

    name: str
    kind: str
    link: Link
    pid: int
    cold: bool = False
    url: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    """The exit status, once it has ended."""
    expected: bool = False
    """Whether somebody ended it on purpose."""

    def signal(self, number: int) -> None:
        if self.status is None:
            if number in (signal.SIGKILL, signal.SIGTERM):
                self.expected = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class House:
    """Starts, hurts and ends the processes; a context manager."""

    def __init__(
        self, zygote: Zygote, folder: Path, models: Path, *, row_s: float = 0.0, **settings: Any
    ) -> None:
        """`row_s`: seconds that a row of a network's call takes beside its own CPU time."""
        self.folder = folder.resolve()
        self.disk, self._zygote = zygote.disk, zygote
        self._place = str(next(zygote.places))
        self.settings = DEFAULTS | settings
        self.members: dict[str, Member] = {}
        self.unexpected: list[str] = []
        """Processes that ended though nobody had asked for it."""
        self.traps, self.engines = self.folder / "traps", self.folder / "engines"
        for each in (self.traps, self.engines):
            each.mkdir(parents=True)
        self.valkey = RedisServer(self.folder / "v")
        self._models, self._row_s = models, row_s
        self._variables: dict[str, str] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self.valkey.start()
            undo.callback(lambda: self.valkey.stop())
            rules = Rules.of(Settings(_env_file=None, **self.settings))
            names = {sha1(text.encode()).hexdigest(): n for n, text in scripts(rules).items()}
            self.proxy = undo.enter_context(Proxy(lambda: self.valkey.url, names))
            self.redis = Redis.from_url(self.valkey.url, socket_timeout=2)
            undo.callback(lambda: self.redis.close())
            self._zygote.on_end = self._note_end
            for part in ("store", "logs"):
                self.on_disk(part).mkdir()
                # The next house shall have as much room.
                undo.callback(shutil.rmtree, self.on_disk(part), ignore_errors=True)
            undo.callback(self._keep_logs)
            undo.callback(self.stop)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    # Starting and ending

    def start_api(self, name: str = "api", *, cold: bool = False, **settings: Any) -> Member:
        old = self.members.get(name)
        port = int(old.url.rsplit(":", 1)[1]) if old else free_port()
        member = self._start(name, "service", settings | {"port": port}, cold=cold)
        member.url = f"http://127.0.0.1:{port}"
        return member

    def start_keeper(self, name: str = "keeper", *, cold: bool = False, **settings: Any) -> Member:
        return self._start(name, "keeper", settings, cold=cold)

    def start_worker(self, name: str, *, cold: bool = False, **settings: Any) -> Member:
        """A supervisor. `cold`: it and its engines import all they need at each start."""
        return self._start(name, "worker", settings | {"worker_name": name}, cold=cold)

    def start_again(self, name: str, *, cold: bool | None = None, **variables: str) -> Member:
        """A member that has ended, as it was, or `cold` this once; with these variables in its
        environment."""
        old = self.members[name]
        self._variables = variables
        starts = {
            "service": self.start_api,
            "keeper": self.start_keeper,
            "worker": self.start_worker,
        }
        try:
            member = starts[old.kind](name, cold=old.cold if cold is None else cold, **old.settings)
        finally:
            self._variables = {}
        member.cold = old.cold
        return member

    def stop(self) -> None:
        """End everything, workers first, as politely as it takes."""
        for kind in ("worker", "keeper", "service"):
            living = [m for m in self.members.values() if m.kind == kind and m.status is None]
            for member in living:
                member.signal(signal.SIGCONT)
                if engine := self.engine_pid(member):
                    os.kill(engine, signal.SIGCONT)
                member.signal(signal.SIGTERM)
            for member in living:
                if not self.ended(member, 30):
                    member.signal(signal.SIGKILL)
                    self.ended(member, 10)

    def ended(self, member: Member, timeout_s: float = 30) -> bool:
        """Wait for its end; False if it does not come."""
        with self._zygote.news:
            return self._zygote.news.wait_for(lambda: member.status is not None, timeout_s)

    def environment(self, link: Link, settings: dict[str, Any]) -> dict[str, str]:
        values = {
            "redis_url": link.url,
            "state_dir": self.folder,
            "store": self.disk.folder / "store" / self._place,
            "models": self._models,
            **self.settings,
            **settings,
        }
        own = {f"DARKROOM_{name.upper()}": str(value) for name, value in values.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DARKROOM_")}
        chaos = {"TRAPS": self.traps, "ENGINES": self.engines, "ROW_S": self._row_s}
        return {
            **kept,
            **own,
            **{f"CHAOS_{name}": str(value) for name, value in chaos.items()},
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            **self._variables,
        }

    def _start(
        self, name: str, kind: str, settings: dict[str, Any], *, cold: bool = False
    ) -> Member:
        old = self.members.get(name)
        link = old.link if old else self.proxy.link(name)
        log = self.disk.folder / "logs" / self._place / f"{name}.log"
        environment = self.environment(link, settings)
        order = {"module": kind, "env": environment, "log": str(log), "cwd": str(ROOT)}
        pid = self._zygote.start(order | {"cold": cold})
        member = Member(name, kind, link, pid, cold, old.url if old else "", settings)
        with self._zygote.news:
            self.members[name] = member
            if pid in self._zygote.statuses:  # it was quick
                self._note_end(pid, self._zygote.statuses[pid])
        return member

    def _keep_logs(self) -> None:
        with contextlib.suppress(OSError):
            shutil.copytree(self.on_disk("logs"), self.folder / "logs", dirs_exist_ok=True)

    # Looking

    def on_disk(self, part: str) -> Path:
        """The folder of its `store` or `logs`, as it can be read from here."""
        return self.disk.at(part) / self._place

    def engine_pid(self, worker: Member) -> int | None:
        """Of a worker's engine, once that runs code of its own."""
        try:
            path = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
            children = [int(word) for word in path.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            return None
        return next((pid for pid in children if (self.engines / str(pid)).exists()), None)

    def engine_id(self, pid: int) -> str:
        return (self.engines / str(pid)).read_text()

    def workers(self) -> list[Member]:
        return [m for m in self.members.values() if m.kind == "worker" and m.status is None]

    def apis(self) -> list[Member]:
        return [m for m in self.members.values() if m.kind == "service"]

    def pids(self) -> list[int]:
        found = []
        for member in self.members.values():
            if member.status is None:
                engine = self.engine_pid(member) if member.kind == "worker" else None
                found += [member.pid, *([engine] if engine else [])]
        return found

    def held(self, engine: str) -> list[str]:
        """Ids of the jobs that Redis says this engine holds."""
        return [job.decode() for job in self.redis.hvals(f"darkroom:engine:{engine}")]

    def takes_jobs(self, name: str) -> bool:
        """Whether the worker of this name says that its present engine does."""
        info = None
        with contextlib.suppress(RedisError):
            info = self.redis.hget(f"rq:worker:{name}", "dr_info")
        if not info:
            return False
        said = json.loads(info)
        pid = self.engine_pid(self.members[name])
        return (
            pid is not None
            and said["engine"] == self.engine_id(pid)
            and said["state"] in ("idle", "busy")
        )

    def answers(self, api: Member) -> bool:
        """Whether an API accepts jobs."""
        try:
            with httpx2.Client(timeout=10) as http:
                return http.get(f"{api.url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def logs(self, most: int = 3000) -> str:
        paths = [self._zygote.log, *sorted(self.on_disk("logs").glob("*.log"))]
        return "\n".join(f"== {path.name}\n{path.read_text()[-most:]}" for path in paths)

    def until(self, ask: Callable[[], Value], what: str, timeout_s: float = 60) -> Value:
        """The first true answer; the state of other processes can only be asked for."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if answer := ask():
                return answer
            time.sleep(0.02)
        raise AssertionError(f"waited in vain until {what}\n{self.logs()}")

    # Hurting what is no process of Darkroom's

    def kill_valkey(self) -> None:
        """As a crash of it: what it wrote to its file is there, nothing else."""
        assert self.valkey.pid
        os.kill(self.valkey.pid, signal.SIGKILL)
        self.valkey.stop()

    def append_only_file(self) -> Path:
        """The part of Valkey's file that it writes on."""
        return max((self.valkey.dir / "appendonlydir").glob("*.incr.aof"))

    @contextlib.contextmanager
    def full_valkey(self) -> Iterator[None]:
        before = self.redis.config_get("maxmemory")["maxmemory"]
        used = self.redis.info("memory")["used_memory"]
        self.redis.config_set("maxmemory", max(used - 20_000, 1))
        try:
            yield
        finally:
            with contextlib.suppress(RedisError):
                self.redis.config_set("maxmemory", before)

    def _note_end(self, pid: int, status: int) -> None:
        for member in self.members.values():
            if member.pid == pid and member.status is None:
                member.status = status
                if not member.expected and status != -signal.SIGKILL:  # that is a trap's
                    self.unexpected.append(f"{member.name} ended with status {status}")


def gone(pid: int, timeout_s: float = 30) -> bool:
    """Wait until a process, of whomever, is no more."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)
