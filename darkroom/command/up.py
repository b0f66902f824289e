"""All of Darkroom on one machine: embedded Valkey, API, keeper and workers as child processes.

`darkroom up` and `darkroom demo` use it; it knows no HTTP beyond asking whether the API is ready.
"""

import shlex
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self
from urllib.parse import urlsplit

from darkroom.back_off import back_off_s
from darkroom.catalog import Catalog
from darkroom.client.client import Client
from darkroom.client.connecting import DEFAULT_URL
from darkroom.command.child import Child
from darkroom.command.first_key import found_key, make_first_key
from darkroom.command.terminal import command_line
from darkroom.command.valkey import RedisServer, memory_mb
from darkroom.errors import DarkroomError, QueueUnavailableError
from darkroom.ports import free_port, is_loopback, refuse_taken_port
from darkroom.private import make_state_dir
from darkroom.queue.connection import connect
from darkroom.queue.server import require_answer, without_password
from darkroom.queue.workers import Workers
from darkroom.settings import Settings

API_STOPS_IN_S = 15.0
WORKERS_EXTRA_GRACE_S = 20.0
"""Beyond the workers' own grace period: they have to write out what they finished."""
PATIENT_S = 3.0
"""When to say what `stop` waits for."""


class UpError(DarkroomError):
    """Darkroom cannot start or go on; the message says which part and how its log ends."""

    code = "up"


class Up:
    """Everything, from start to stop; a context manager. Use it in the main thread.

    `say` gets sentences for a person: what started, what died and is started again."""

    def __init__(
        self, settings: Settings, workers: int = 1, say: Callable[[str], None] = print
    ) -> None:
        port = settings.port or free_port(settings.host)
        self.settings = settings.model_copy(update={"port": port})
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._say = say
        max_mb = memory_mb(settings.max_queued, settings.max_kept_mb)
        self._valkey = None if settings.redis_url else RedisServer(settings.state_dir, max_mb)
        self._redis_url = settings.redis_url or ""
        name = settings.worker_name or socket.gethostname()
        self._worker_names = {f"{name}-{n}" for n in range(1, workers + 1)}
        self.children: list[Child] = []
        self.about_keys: list[str] = []
        """What a person should know of the key that was made."""
        self.interrupted = self._stopping = False
        self._valkey_back_off_s, self._valkey_again_at = 0.0, 0.0

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until the API is ready. Raises UpError, and before anything is
        started or written ModelsFileError, CannotListenError and QueueUnavailableError."""
        Catalog.read(self.settings.models)
        another = command_line("up", "--port", "8001")
        refuse_taken_port(self.settings.host, self.settings.port, another=another)
        if self.settings.redis_url:
            _refuse_dead_redis(self.settings.redis_url)
        try:
            self._start_processes()
        except OSError as error:
            raise UpError(
                f"The state directory {self.settings.state_dir} cannot be made or used: "
                f"{error.strerror}. Name another one: --state-dir"
            ) from error
        with Client(self.url) as client:
            self._until(client.ready, "the API is ready")

    def _start_processes(self) -> None:
        make_state_dir(self.settings.state_dir)
        if self._valkey:
            self._redis_url = self._valkey.start()
        if self.settings.asks_for_keys:
            self.about_keys = make_first_key(self._redis_url, self.settings.state_dir)
        for kind in ("api", "keeper"):
            self.children.append(Child(kind, self.settings, self._redis_url))
        for name in sorted(self._worker_names):
            own = self.settings.model_copy(update={"worker_name": name})
            self.children.append(Child("worker", own, self._redis_url))

    @property
    def has_workers(self) -> bool:
        return bool(self._worker_names)

    def wait_for_workers(self) -> None:
        """Wait until every worker takes jobs. Raises UpError."""
        with connect(self._redis_url) as redis:
            workers = Workers(redis)
            self._until(lambda: self._worker_names <= _ready(workers), "the workers are ready")

    def check(self) -> None:
        """Start again what died, but no worker that was told to end. Cheap; call it often."""
        if self._valkey and self._valkey.pid is None and time.monotonic() >= self._valkey_again_at:
            self._restart(self._valkey)
        for child in tuple(self.children):
            if child.running:
                continue
            if child.kind == "worker" and child.process.returncode == 0:
                self.children.remove(child)
                self._say(f"{child.name} was drained and stays away; darkroom worker starts one.")
            elif child.start_again_at is None:
                child.note_end()
                status = child.process.returncode
                self._say(f"{child.name} ended with status {status}; it is started again.")
                self._say(child.last_words())
            elif time.monotonic() >= child.start_again_at:
                self._start_again(child)

    def interrupt(self) -> None:
        """What a signal does: all of it ends soon; while `stop` waits, at once."""
        self.interrupted = True
        if self._stopping:
            for child in self.children:
                child.kill()

    def stop(self) -> None:
        """API first, so that nothing new comes in; then the workers, which end or give back their
        jobs; then the keeper; the queue last."""
        self._stopping = True
        grace = self.settings.grace_s
        by_kind = {"api": API_STOPS_IN_S, "worker": grace + WORKERS_EXTRA_GRACE_S, "keeper": 10.0}
        for kind, timeout_s in by_kind.items():
            children = [c for c in self.children if c.kind == kind and c.running]
            for child in children:
                child.process.terminate()
            if kind == "worker" and self._still_there(children):
                self._say(
                    f"Waiting for the workers; running jobs get {grace:g} s to end, then they go "
                    "back to the queue. Ctrl-C again stops at once."
                )
            end = time.monotonic() + timeout_s
            for child in children:
                child.wait_or_kill(max(0.0, end - time.monotonic()))
        if self._valkey:
            self._valkey.stop()

    @staticmethod
    def _still_there(children: list[Child]) -> bool:
        end = time.monotonic() + PATIENT_S
        while any(child.running for child in children) and time.monotonic() < end:
            time.sleep(0.02)
        return any(child.running for child in children)

    def _start_again(self, child: Child) -> None:
        try:
            child.start(self._redis_url)
        except OSError as error:
            child.note_end()
            self._say(f"{child.name} cannot be started: {error.strerror}. It is tried again.")

    def _restart(self, valkey: RedisServer) -> None:
        self._say("The embedded Valkey ended; it is started again.")
        self._say(valkey.log_tail())
        valkey.stop()
        before = self._redis_url
        try:
            self._redis_url = valkey.start()
        except (QueueUnavailableError, OSError) as error:
            self._valkey_back_off_s = back_off_s(self._valkey_back_off_s, steady=False)
            self._valkey_again_at = time.monotonic() + self._valkey_back_off_s
            self._say(f"It cannot be started, and is tried again: {error}")
            return
        self._valkey_back_off_s = 0.0
        if before != self._redis_url:
            for child in self.children:
                child.kill()

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + self.settings.load_timeout_s
        while not ready():
            if self.interrupted:
                raise KeyboardInterrupt
            for child in self.children:
                if not child.running:
                    raise UpError(
                        f"{child.name} ended with status {child.process.returncode} before {what}. "
                        f"Its log, {child.log}, ends with:\n{child.last_words()}"
                    )
            if time.monotonic() > end:
                logs = ", ".join(str(child.log) for child in self.children)
                raise UpError(f"Waited {self.settings.load_timeout_s:g} s until {what}: see {logs}")
            time.sleep(0.05)


def run(settings: Settings, workers: int, say: Callable[[str], None]) -> None:
    """`darkroom up`: until SIGTERM, SIGINT or SIGHUP."""
    up = Up(settings, workers, say)
    asked: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        asked.append(number)
        up.interrupt()
        if len(asked) == 1:
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        with up:
            _announce(up, say)
            up.wait_for_workers()
            say("Ready." if workers else _without_workers(settings))
            # The exception may have been raised where Python drops it, as in a finalizer.
            while not up.interrupted:
                time.sleep(0.2)
                up.check()
    except KeyboardInterrupt:
        pass
    say("Stopped.")


def _without_workers(settings: Settings) -> str:
    where: tuple[str, ...] = ("--redis-url", "...") if settings.redis_url else ()
    if settings.state_dir != Settings.model_fields["state_dir"].default:
        where += ("--state-dir", str(settings.state_dir))
    return f"The API is ready. Jobs wait until a worker runs: {command_line('worker', *where)}"


def _announce(up: Up, say: Callable[[str], None]) -> None:
    elsewhere = () if up.url == DEFAULT_URL else ("--url", up.url)
    say(f"Darkroom listens at {up.url}")
    say(f"  API        {up.url}/api/v1   its description: {up.url}/docs")
    say(f"  OpenAI     {up.url}/v1   for clients of the OpenAI Images API")
    say(f"  A1111      {up.url}   for clients of AUTOMATIC1111's API")
    say(f"  Replicate  {up.url}/replicate/v1   for clients of Replicate's API")
    say(f"  Google     {up.url}/google   for clients of Google's API of pictures")
    say(f"  agents     {up.url}/mcp   the Model Context Protocol; by stdio: darkroom mcp")
    say(f"  state      {up.settings.state_dir}   logs: {up.settings.state_dir / 'logs'}")
    for sentence in up.about_keys:
        say(f"  key        {sentence}")
    known = _key_for_commands(up)
    say(f"  try        {known}{command_line('generate', 'a red apple', *elsewhere)}")
    workers = " The workers load ..." if up.has_workers else ""
    say(f"Ctrl-C stops all of it. Jobs are accepted.{workers}")


def _key_for_commands(up: Up) -> str:
    """What to put before a command here, so that it brings a key where one is asked for."""
    settings = up.settings
    if not settings.asks_for_keys:
        return ""
    if found_key(settings.state_dir) is None or not is_loopback(urlsplit(up.url).hostname or ""):
        return "DARKROOM_KEY=dk_... "
    if settings.state_dir == Settings.model_fields["state_dir"].default:
        return ""
    return f"DARKROOM_STATE_DIR={shlex.quote(str(settings.state_dir))} "


def _ready(workers: Workers) -> set[str]:
    """Names of the workers that take jobs."""
    try:
        return {info.name for info in workers.all() if info.state in ("idle", "busy")}
    except QueueUnavailableError:
        return set()


def _refuse_dead_redis(url: str) -> None:
    try:
        require_answer(url)
    except QueueUnavailableError as error:
        reason = str(error).rstrip(".")
        raise UpError(
            f"No Redis can be used at {without_password(url)}: {reason}. Start it or correct the "
            "address (--redis-url, DARKROOM_REDIS_URL); without one `darkroom up` brings its own."
        ) from error
