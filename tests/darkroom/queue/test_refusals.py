"""What Redis refuses because of its own state is QueueUnavailableError in every process, and passes
when the state does. Each state is the real server's."""

import asyncio
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from darkroom import keeper
from darkroom.command import valkey as embedded
from darkroom.command.valkey import RedisServer, server_binary
from darkroom.errors import DarkroomError, QueueUnavailableError
from darkroom.job import JobStatus, Progress
from darkroom.model_record import ModelRecord
from darkroom.ports import free_port
from darkroom.queue import batches, calls, jobs, listing
from darkroom.queue.accepting import NewJob, Terms
from darkroom.queue.claim import Claim
from darkroom.queue.connection import connect, connect_async, translated
from darkroom.queue.exchange import AsyncClient, Exchange, Send
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.model_records import ModelRecords, all_records
from darkroom.queue.outlook import look
from darkroom.queue.queue import News, Queue, queue_names
from darkroom.queue.server import answers
from darkroom.queue.workers import Workers, living
from darkroom.settings import Settings
from tests.begun import begun
from tests.darkroom.queue.test_workers import INFO

KEYS = 50_000
"""So many that a server which takes 0.4 ms for each is seen at it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of its own, which can be told to read its file again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(embedded._OPTIONS, "enable-debug-command", "yes")
        with RedisServer(tmp_path_factory.mktemp("state")) as running:
            yield running


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "ann", "reset", "on", ">old", "~*", "&*", "+@all")
        yield client


@dataclass
class Processes:
    """What each process asks of Redis, through connections of its own."""

    url: str
    claim: Claim = field(
        default_factory=lambda: Claim("job_0", "token", {}, 1, None, 0.0, "normal"), init=False
    )
    job_id: str = field(default="job_0", init=False)

    def __enter__(self) -> "Processes":
        redis = self._redis = connect(self.url)
        self.queue, self.workers, self.records = Queue(redis), Workers(redis), ModelRecords(redis)
        self._loop = asyncio.Runner()
        self._async = connect_async(self.url)
        self._service = AsyncClient(self._async, scripts(PLAIN_RULES))
        with suppress(QueueUnavailableError):
            self._claim_one()
        for ask in self.questions.values():  # each has a connection, and its script is known
            with suppress(DarkroomError):
                ask()
        with suppress(QueueUnavailableError):
            self._claim_one()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._async.aclose())
        self._loop.close()
        self._redis.close()

    def _claim_one(self) -> None:
        self.queue.submit({}, model="pix")
        self.job_id = self.queue.submit({}, model="pix").job.id
        names = queue_names(["pix"])
        claim = begun(self.queue, queues=names)
        assert claim is not None
        self.claim = claim

    @property
    def questions(self) -> dict[str, Callable[[], object]]:
        queue, claim = self.queue, self.claim
        names = queue_names(["pix"])
        return {
            "engine claim": lambda: queue.claim(engine="e", queues=names, token="t"),
            "engine begin": lambda: queue.begin(claim, "w"),
            "engine beat": lambda: queue.beat("e", [claim]),
            "engine tell": lambda: queue.tell([News(claim, Progress(stage="load"))]),
            "engine complete": lambda: queue.complete(claim, {"prompt": "OOM "}),
            "engine wait": lambda: queue.wait(["bell"], 0.01),
            "engine record": lambda: self.records.put(ModelRecord(name="pix")),
            "engine release": lambda: queue.release(claim),
            "engine finish": lambda: queue.finish(claim, JobStatus.FAILED),
            "supervisor announce": lambda: self.workers.announce(INFO, ttl_s=10),
            "supervisor reap": lambda: queue.reap("e"),
            "supervisor leave": lambda: self.workers.leave("w1"),
            "keeper reap": queue.reap,
            "keeper deadlines": queue.expire_deadlines,
            "keeper left": queue.cancel_left,
            "keeper abandoned": lambda: queue.end_abandoned((), 0),
            "keeper retention": queue.sweep_retention,
            "keeper images": queue.image_ids,
            "keeper inputs": queue.input_ids,
            "keeper mark": queue.store_mark,
            "keeper new mark": queue.new_store_mark,
            "service submit": self._asked(jobs.submit({}, model="pix")),
            "service ask": self._asked(jobs.ask(Terms(idempotency_key="k", fingerprint="f"))),
            "service call": self._asked(calls.left(self.job_id)),
            "service batch": self._asked(
                batches.submit([NewJob(request={}, model="pix")], Terms())
            ),
            "service fetch": self._asked(jobs.fetch(self.job_id)),
            "service cancel": self._asked(jobs.cancel(self.job_id)),
            "service page": self._asked(listing.page()),
            "service queues": self._asked(jobs.queues()),
            "service counters": self._asked(jobs.counters()),
            "service check": self._asked(jobs.check()),
            "service workers": self._asked(living()),
            "service outlook": self._asked(look()),
            "service records": self._asked(all_records()),
            "service delete": self._asked(jobs.delete(self.job_id)),
        }

    def _asked(self, exchange: Exchange[object]) -> Callable[[], object]:
        return lambda: self._loop.run(self._service.carry_out(exchange))

    def refused(self) -> set[str]:
        """The questions that ended in QueueUnavailableError. Any other fault of Redis fails."""
        refused = set()
        for name, ask in self.questions.items():
            try:
                ask()
            except QueueUnavailableError:
                refused.add(name)
            except RedisError as error:
                pytest.fail(f"{name}: {type(error).__name__}: {error}")
            except DarkroomError:
                continue
        return refused


@contextmanager
def configured(admin: Redis, name: str, value: object) -> Iterator[None]:
    before = admin.config_get(name)[name]
    admin.config_set(name, value)
    try:
        yield
    finally:
        admin.config_set(name, before)


def without_replicas(admin: Redis) -> AbstractContextManager[None]:
    return configured(admin, "min-replicas-to-write", 1)


def full(admin: Redis) -> AbstractContextManager[None]:
    return configured(admin, "maxmemory", 1)


@contextmanager
def cannot_save(admin: Redis) -> Iterator[None]:
    """The file that it saves to is a folder, which holds something."""
    folder = Path(admin.config_get("dir")["dir"]) / "dump.rdb"
    folder.unlink(missing_ok=True)
    (folder / "taken").mkdir(parents=True)
    try:
        with configured(admin, "save", "3600 1"):
            admin.bgsave()
            while admin.info("persistence")["rdb_bgsave_in_progress"]:
                pass
            yield
    finally:
        (folder / "taken").rmdir()
        folder.rmdir()


@contextmanager
def replica(admin: Redis) -> Iterator[None]:
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def orphaned_replica(admin: Redis) -> Iterator[None]:
    with configured(admin, "replica-serve-stale-data", "no"), replica(admin):
        yield


@contextmanager
def busy(admin: Redis) -> Iterator[None]:
    with configured(admin, "busy-reply-threshold", 1), aside(admin, "EVAL", "while true do end", 0):
        until_it_says(admin, "BUSY")
        try:
            yield
        finally:
            admin.execute_command("SCRIPT", "KILL")


@contextmanager
def loading(admin: Redis) -> Iterator[None]:
    with admin.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            pipe.set(f"key:{number}", 1)
        pipe.execute()
    with (
        configured(admin, "loading-process-events-interval-bytes", 1024),
        configured(admin, "key-load-delay", 400),
        aside(admin, "DEBUG", "RELOAD"),
    ):
        until_it_says(admin, "loading")
        try:
            yield
        finally:
            admin.config_set("key-load-delay", 0)


@contextmanager
def aside(admin: Redis, *command: object) -> Iterator[None]:
    """While the server is at `command`."""

    def work() -> None:
        with suppress(RedisError), Redis(connection_pool=admin.connection_pool) as client:
            client.execute_command(*command)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def until_it_says(admin: Redis, word: str) -> None:
    while True:
        try:
            admin.get("nothing")
        except RedisError as error:
            if word in str(error):
                return


def hang_up(admin: Redis) -> None:
    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@contextmanager
def other_password(admin: Redis) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "ann", "resetpass", ">new")
    hang_up(admin)
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "ann", ">old")


@contextmanager
def fewer_rights(admin: Redis) -> Iterator[None]:
    """No more writing: of plain commands, of pipelines, in scripts."""
    admin.execute_command("ACL", "SETUSER", "ann", "-@write")
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "ann", "+@all")


@contextmanager
def fewer_keys(admin: Redis) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "ann", "resetkeys", "~nothing")
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "ann", "~*")


@contextmanager
def no_scripts(admin: Redis) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "ann", "-@scripting")
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "ann", "+@all")


WRITERS = {"engine claim", "engine record", "supervisor announce", "service submit", "keeper reap"}
STATES = {
    "NOREPLICAS": (without_replicas, WRITERS),
    "OOM": (full, {"service submit", "service check", "engine record"}),
    "MISCONF": (cannot_save, WRITERS),
    "READONLY": (replica, WRITERS),
    "MASTERDOWN": (orphaned_replica, WRITERS | {"service fetch", "service workers"}),
    "BUSY": (busy, WRITERS | {"service fetch", "service workers", "engine wait"}),
    "LOADING": (loading, WRITERS | {"service fetch", "service workers", "engine wait"}),
    "WRONGPASS": (other_password, WRITERS | {"service fetch", "service workers", "engine wait"}),
    "NOPERM to write": (fewer_rights, WRITERS),
    "NOPERM to keys": (fewer_keys, WRITERS | {"service workers"}),
    "NOPERM to scripts": (no_scripts, {"engine claim", "engine beat", "service submit"}),
}


@pytest.mark.parametrize("name", STATES)
def test_what_the_server_refuses(name: str, server: RedisServer, admin: Redis) -> None:
    state, writers = STATES[name]
    path = server.url.removeprefix("unix://")
    with Processes(f"unix://ann:old@{path}") as processes:
        with state(admin):
            refused = processes.refused()
        assert refused >= writers
        assert processes.refused() == set(), "it did not pass"


def test_a_server_that_wants_a_password(server: RedisServer, admin: Redis) -> None:
    with Processes(server.url) as processes:
        with configured(admin, "requirepass", "secret"):
            hang_up(admin)
            assert processes.refused() == processes.questions.keys()
        admin.execute_command("ACL", "SETUSER", "default", "nopass")
        assert processes.refused() == set()


def test_a_cluster_that_is_down(tmp_path: Path) -> None:
    port = free_port()
    options = ["--port", str(port), "--cluster-port", str(free_port()), "--cluster-enabled", "yes"]
    process = subprocess.Popen(
        [server_binary(), *options, "--dir", str(tmp_path), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not answers(f"redis://127.0.0.1:{port}"):
            assert process.poll() is None
        with Processes(f"redis://127.0.0.1:{port}") as processes:
            assert processes.refused() >= {"engine record", "service records", "service check"}
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("state", [without_replicas, full, replica])
def test_a_state_that_comes_in_the_middle_of_a_transaction(
    state: Callable[[Redis], AbstractContextManager[None]], server: RedisServer, admin: Redis
) -> None:
    with connect(server.url) as redis:
        wire = redis.connection_pool.get_connection()
        for command in (("MULTI",), ("HSET", "key", "field", "value")):
            wire.send_command(*command)
            wire.read_response()
        with state(admin):
            wire.send_command("EXEC")
            with pytest.raises(QueueUnavailableError), translated():
                wire.read_response()


def test_a_script_that_an_operator_ends(server: RedisServer, admin: Redis) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with connect(server.url) as redis, translated():
                redis.eval("while true do end", 0)
        except BaseException as error:
            raised.append(error)

    with configured(admin, "busy-reply-threshold", 1):
        thread = threading.Thread(target=run)
        thread.start()
        until_it_says(admin, "BUSY")
        admin.execute_command("SCRIPT", "KILL")
        thread.join()
    assert isinstance(raised[0], QueueUnavailableError)


def test_words_of_a_command_are_no_reply(server: RedisServer, admin: Redis) -> None:
    admin.set("text", "x")
    command = ("HSET", "text", "of pipeline caused error: OOM", "-OOM x")
    with connect(server.url) as redis, pytest.raises(RedisError, match="WRONGTYPE"):
        Workers(redis).carry_out(_in_a_pipeline(("PING",), command))


def _in_a_pipeline(*commands: tuple[str, ...]) -> Exchange[object]:
    return (yield Send(commands))


def test_the_keeper_goes_on(server: RedisServer, admin: Redis, state_dir: Path) -> None:
    settings = Settings(state_dir=state_dir, keeper_interval_s=0.01, redis_url=server.url)
    stop, ended = threading.Event(), threading.Event()
    with connect(server.url) as redis:
        queue = Queue(redis)

        def work() -> None:
            keeper.run(stop, settings=settings, queue=queue)
            ended.set()

        thread = threading.Thread(target=work)
        with without_replicas(admin):
            thread.start()
            assert not ended.wait(0.1)
        late = queue.submit({}, model="pix", deadline_s=0).job
        while queue.fetch(late.id).status is JobStatus.QUEUED:
            assert not ended.wait(0.01)
        stop.set()
        thread.join()
