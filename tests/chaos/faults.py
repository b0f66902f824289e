"""What can go wrong, one function each: it hurts, waits, and mends; in the main thread of a run.

A fault is a generator. What it yields is how many seconds to wait before it goes on; others may
strike meanwhile.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError
from rq import Queue as PlainQueue
from rq.registry import StartedJobRegistry

from tests.chaos import traps
from tests.chaos.clients import Client, hang_up
from tests.chaos.history import History
from tests.chaos.house import House, Member
from tests.chaos.proxy import Link

Steps = Generator[float, None, None]


@dataclass
class Scene:
    """What a fault may touch, and where it tells of itself."""

    house: House
    history: History
    rng: random.Random
    lease_s: float
    client: Client
    busy: set[str] = field(default_factory=set)
    """Members and things that a fault has in its hands."""
    struck: int = 0
    """How many faults so far."""

    @contextmanager
    def fault(
        self, kind: str, target: str, *, hurts: Member | None = None, **more: Any
    ) -> Iterator[None]:
        """Around a fault, which lasts until it is mended. `hurts`: a worker whose jobs it hits."""
        number, self.struck = self.struck, self.struck + 1
        about = self._about(hurts) if hurts else {}
        self.history.note("fault", number=number, fault=kind, target=target, **about, **more)
        self.busy.add(target)
        try:
            yield
        finally:
            self.busy.discard(target)
            self.history.note("mended", number=number)

    def worker(self, *, cold: bool = False) -> tuple[Member, int] | None:
        """One with a living engine, and that one's process id."""
        found = [
            (worker, pid)
            for worker in self.house.workers()
            if worker.cold == cold
            and worker.name not in self.busy
            and (pid := self.house.engine_pid(worker))
        ]
        return self.rng.choice(found) if found else None

    def member(self, kind: str) -> Member | None:
        found = [
            m
            for m in self.house.members.values()
            if m.kind == kind and m.status is None and m.name not in self.busy
        ]
        return self.rng.choice(found) if found else None

    def link(self) -> Link | None:
        names = [name for name in self.house.members if name not in self.busy]
        return self.house.members[self.rng.choice(names)].link if names else None

    def some(self, least: float, most: float) -> float:
        return self.rng.uniform(least, most)

    def come_back(self, member: Member) -> None:
        """What a service manager does."""
        self.house.ended(member)
        self.house.start_again(member.name)

    def _about(self, worker: Member) -> dict[str, Any]:
        """Which jobs a fault of a worker hits, and whether another one has room for them."""
        pid = self.house.engine_pid(worker)
        held = self.held(pid) if pid else []
        room = self._room(worker)
        return {"worker": worker.name, "cold": worker.cold, "held": held, "room": room}

    def held(self, pid: int) -> list[str]:
        """Jobs of an engine; none while Valkey does not tell."""
        with suppress(RedisError, FileNotFoundError):
            return self.house.held(self.house.engine_id(pid))
        return []

    def _room(self, worker: Member) -> bool:
        places = int(self.house.settings.get("max_jobs", 8))
        for other in self.house.workers():
            if other is worker or other.name in self.busy:
                continue
            pid = self.house.engine_pid(other)
            if pid and self.house.takes_jobs(other.name) and len(self.held(pid)) < places:
                return True
        return False


CLOCK = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
"""Debian's `faketime`; where it is missing, clocks stay right."""

Fault = Callable[[Scene], Steps]
FAULTS: dict[str, tuple[Fault, float]] = {}
"""By name: what it does, and how often it comes beside the others."""


def fault(name: str, weight: float) -> Callable[[Fault], Fault]:
    def add(function: Fault) -> Fault:
        FAULTS[name] = function, weight
        return function

    return add


# Workers


@fault("engine killed", 40)
def engine_killed(scene: Scene) -> Steps:
    if found := scene.worker():
        worker, pid = found
        with scene.fault("engine killed", worker.name, hurts=worker):
            _kill(pid)
        yield 0


@fault("cold engine killed", 4)
def cold_engine_killed(scene: Scene) -> Steps:
    """One that imports everything when it starts again, and holds all that it may."""
    if not (found := scene.worker(cold=True)):
        return
    worker, pid = found
    places = int(scene.house.settings.get("max_jobs", 8))
    for _ in range(60):
        if len(scene.held(pid)) >= places:
            break
        yield 0.1
    if scene.house.engine_pid(worker) == pid:
        full = len(scene.held(pid)) >= places
        with scene.fault("cold engine killed", worker.name, hurts=worker, full=full):
            _kill(pid)


@fault("engine crashed", 3)
def engine_crashed(scene: Scene) -> Steps:
    if found := scene.worker():
        worker, pid = found
        with scene.fault("engine crashed", worker.name, hurts=worker):
            os.kill(pid, signal.SIGSEGV)
        yield 0


@fault("all engines killed", 1)
def all_engines_killed(scene: Scene) -> Steps:
    workers = [w for w in scene.house.workers() if w.name not in scene.busy]
    pids = [scene.house.engine_pid(worker) for worker in workers]
    for worker, pid in zip(workers, pids, strict=True):
        if pid:
            with scene.fault("all engines killed", worker.name, hurts=worker):
                _kill(pid)
    yield 0


@fault("supervisor killed", 7)
def supervisor_killed(scene: Scene) -> Steps:
    if worker := scene.member("worker"):
        with scene.fault("supervisor killed", worker.name, hurts=worker):
            worker.signal(signal.SIGKILL)
            yield scene.some(0.2, 2)
            scene.come_back(worker)


@fault("worker drained", 6)
def worker_drained(scene: Scene) -> Steps:
    worker = scene.member("worker")
    if worker and scene.house.engine_pid(worker):  # else it may not have come to its handlers yet
        with scene.fault("worker drained", worker.name, hurts=worker):
            worker.signal(signal.SIGTERM)
            began = time.time()
            while worker.status is None and time.time() - began < 30:
                yield 0.1
            took = time.time() - began
            scene.history.note("drained", worker=worker.name, status=worker.status, took_s=took)
            if worker.status is None:
                worker.signal(signal.SIGKILL)
            scene.come_back(worker)


@fault("engine paused", 5)
def engine_paused(scene: Scene) -> Steps:
    """For longer than its lease, not so long that its supervisor gives it up."""
    if found := scene.worker():
        worker, pid = found
        with scene.fault("engine paused", worker.name, hurts=worker):
            yield from _pause(pid, 1.75 * scene.lease_s)


@fault("supervisor paused", 2)
def supervisor_paused(scene: Scene) -> Steps:
    if worker := scene.member("worker"):
        with scene.fault("supervisor paused", worker.name):
            yield from _pause(worker.pid, 1.75 * scene.lease_s)


@fault("engine hung", 1)
def engine_hung(scene: Scene) -> Steps:
    """Until its supervisor kills it."""
    if found := scene.worker():
        worker, pid = found
        with scene.fault("engine hung", worker.name, hurts=worker):
            _stop(pid)
            limit = float(scene.house.settings["step_timeout_s"])
            for _ in range(int(limit * 10) + 100):
                if scene.house.engine_pid(worker) != pid:
                    return
                yield 0.1
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@fault("died at a point", 5)
def died_at_a_point(scene: Scene) -> Steps:
    """Killed from within, where it matters: between two steps of what must not be torn apart."""
    point = scene.rng.choice(traps.POINTS)
    dying = _trap(scene, f"died: {point}", point)
    if point in ("draining", "released"):
        yield next(dying, 0)
        yield from worker_drained(scene)
    yield from dying


@fault("engine paused at its finish", 3)
def engine_paused_at_its_finish(scene: Scene) -> Steps:
    """Until another one has surely made the same: then it wants to commit what it has."""
    if traps.FINISHING in scene.busy:
        return
    word = scene.house.traps / f"{traps.FINISHING}.pid"
    with scene.fault("engine paused at its finish", traps.FINISHING):
        traps.set_trap(scene.house.traps, traps.FINISHING)
        for _ in range(int(10 * scene.lease_s)):
            if word.exists():
                break
            yield 0.1
        (scene.house.traps / traps.FINISHING).unlink(missing_ok=True)
        if word.exists():
            pid = int(word.read_text())
            word.unlink()
            hit = [w.name for w in scene.house.workers() if scene.house.engine_pid(w) == pid]
            # Another fault may have that worker in its hands, and let go of it later or sooner.
            workers = set(hit) - scene.busy
            scene.busy.update(workers)
            yield from _pause(pid, 2.5 * scene.lease_s)
            scene.busy.difference_update(workers)


@fault("device fault", 3)
def device_fault(scene: Scene) -> Steps:
    name = scene.rng.choice((traps.OUT_OF_MEMORY, traps.DEVICE_LOST))
    yield from _trap(scene, f"device: {name}", name)


# The service and the keeper


@fault("API killed", 4)
def api_killed(scene: Scene) -> Steps:
    yield from _ended(scene, "service", signal.SIGKILL, "API killed")


@fault("API stopped", 2)
def api_stopped(scene: Scene) -> Steps:
    yield from _ended(scene, "service", signal.SIGTERM, "API stopped")


@fault("keeper killed", 2)
def keeper_killed(scene: Scene) -> Steps:
    yield from _ended(scene, "keeper", signal.SIGKILL, "keeper killed")


@fault("keeper paused", 1)
def keeper_paused(scene: Scene) -> Steps:
    if keeper := scene.member("keeper"):
        with scene.fault("keeper paused", keeper.name):
            yield from _pause(keeper.pid, 2 * scene.lease_s)


@fault("clock wrong", 1)
def clock_wrong(scene: Scene) -> Steps:
    """A process that lives an hour before or after all others."""
    found = [m for m in (scene.member("keeper"), scene.member("service")) if m]
    cold = [w for w in scene.house.workers() if w.cold and w.name not in scene.busy]
    if not CLOCK.exists() or not (found or cold):
        return
    member = scene.rng.choice(found + cold)
    away = scene.rng.choice(("-1h", "+1h"))
    hurts = member if member.kind == "worker" else None
    with scene.fault(f"clock wrong: {member.kind}", member.name, hurts=hurts):
        variables = {
            "LD_PRELOAD": str(CLOCK),
            "FAKETIME": away,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        for more in (variables, {}):
            member.signal(signal.SIGKILL)
            scene.house.ended(member)
            member = scene.house.start_again(member.name, cold=True if more else None, **more)
            yield 3 * scene.lease_s if more else 0


# Valkey and the way to it


@fault("Valkey killed", 5)
def valkey_killed(scene: Scene) -> Steps:
    down_s = scene.rng.choice((0.2, 0.2, 2.5, 3 * scene.lease_s))
    yield from _valkey_down(scene, "Valkey killed", down_s)


@fault("Valkey's file torn", 1)
def valkey_torn(scene: Scene) -> Steps:
    """It died while it wrote down a command that nobody got an answer to."""
    yield from _valkey_down(scene, "Valkey's file torn", 0.2, torn=True)


@fault("Valkey stalled", 2)
def valkey_stalled(scene: Scene) -> Steps:
    pid = scene.house.valkey.pid
    if pid and "valkey" not in scene.busy:
        with scene.fault("Valkey stalled", "valkey"):
            yield from _pause(pid, scene.some(1, 7))


@fault("Valkey full", 4)
def valkey_full(scene: Scene) -> Steps:
    if "valkey" not in scene.busy:
        with scene.fault("Valkey full", "valkey"), scene.house.full_valkey():
            yield scene.some(0.5, 3)


@fault("link cut", 4)
def link_cut(scene: Scene) -> Steps:
    if link := scene.link():
        with scene.fault("link cut", link.name):
            link.cut()
            yield scene.rng.choice((0.5, 1.5, 2.25 * scene.lease_s))
            link.mend()


@fault("link silent", 4)
def link_silent(scene: Scene) -> Steps:
    if link := scene.link():
        with scene.fault("link silent", link.name):
            link.swallow()
            yield scene.rng.choice((0.5, 1.5, 2.25 * scene.lease_s))
            link.mend()


@fault("link slow", 2)
def link_slow(scene: Scene) -> Steps:
    if link := scene.link():
        with scene.fault("link slow", link.name):
            link.slow(scene.some(0.02, 0.2))
            yield scene.some(1, 4)
            link.mend()


@fault("reply lost", 5)
def reply_lost(scene: Scene) -> Steps:
    script = scene.rng.choice(
        ("submit", "claim", "begin", "finish", "release", "reap", "beat", "cancel", "tell")
    )
    links = [member.link for member in scene.house.members.values()]
    with scene.fault(f"reply lost: {script}", f"replies to {script}"):
        lost = sum(link.replies_lost for link in links)
        for link in links:
            link.lose_reply(script)
        for _ in range(20):
            if sum(link.replies_lost for link in links) > lost:
                break
            yield 0.1
        for link in links:
            link.expect_replies()


# The disk


@fault("disk full", 4)
def disk_full(scene: Scene) -> Steps:
    yield from _disk_full(scene, "disk full", ("store",))


@fault("disk of pictures and logs full", 2)
def disks_full(scene: Scene) -> Steps:
    yield from _disk_full(scene, "disk of pictures and logs full", ("store", "logs"))


# Clients


def _submitted(
    scene: Scene, body: dict[str, Any], **more: Any
) -> Generator[float, None, str | None]:
    """The job, once it is accepted. Other faults are mended meanwhile: it may wait for that."""
    with ThreadPoolExecutor(1) as pool:
        ask = pool.submit(scene.client.submit, body, **more)
        while not ask.done():
            yield 0.05
    return ask.result()


@fault("one key many times", 2)
def one_key(scene: Scene) -> Steps:
    """Fifty requests with one key at once."""
    with scene.fault("one key many times", "clients"):
        client = scene.client
        key = f"k{scene.rng.getrandbits(64):016x}"
        body = {"prompt": "a cat of many", "num_inference_steps": 2, "tags": [key]}
        scene.history.note("send", key=key, sort="innocent")
        with ThreadPoolExecutor(10) as pool:
            about = {"json": body, "headers": {"Idempotency-Key": key}}
            asks = [
                pool.submit(client.ask_until, "POST", "/api/v1/jobs", (200, 202), **about)
                for _ in range(50)
            ]
            while not all(ask.done() for ask in asks):
                yield 0.05
        for answer in (ask.result() for ask in asks):
            if answer is not None:
                job = answer.json()["id"]
                more = {"sort": "innocent", "pictures": 1, "priority": "normal"}
                scene.history.note("ack", job=job, key=key, **more)


@fault("clients hang up", 2)
def clients_hang_up(scene: Scene) -> Steps:
    with scene.fault("clients hang up", "clients"):
        client = scene.client
        for _ in range(5):
            hang_up(scene.rng.choice(client.urls()), {"prompt": "x" * 2000})
        body = {"prompt": "a cat that is left", "num_inference_steps": 10}
        job = yield from _submitted(scene, body)
        for _ in range(5 if job else 0):
            with (
                suppress(Exception),
                client.http.stream(
                    "GET", f"{scene.rng.choice(client.urls())}/api/v1/jobs/{job}/events", timeout=1
                ) as stream,
            ):
                next(stream.iter_lines(), None)


@fault("flood", 1)
def flood(scene: Scene) -> Steps:
    """Many small jobs at once, from many."""
    with scene.fault("flood", "clients"), ThreadPoolExecutor(20) as pool:
        bodies = [{"prompt": f"a cat of {n}", "num_inference_steps": 2} for n in range(60)]
        asks = [pool.submit(scene.client.submit, body) for body in bodies]
        while not all(ask.done() for ask in asks):
            yield 0.05


@fault("a queue's id twice", 1)
def ids_twice(scene: Scene) -> Steps:
    """Somebody pushes by hand what is queued already."""
    redis = scene.house.redis
    with scene.fault("a queue's id twice", "queue"), suppress(RedisError):
        for name in redis.smembers("darkroom:queues"):
            for job in redis.lrange(b"rq:queue:" + name, 0, 4):
                redis.rpush(b"rq:queue:" + name, job, job)
    yield 0


@fault("stranger in the queue", 1)
def stranger(scene: Scene) -> Steps:
    """A job that is none: an id without a hash, a hash without data, data that is no JSON."""
    redis = scene.house.redis
    with scene.fault("stranger in the queue", "queue"), suppress(RedisError):
        for number, fields in enumerate(({}, {"status": "queued"}, {"data": "\x80\x04x"})):
            job = f"stranger-{scene.rng.getrandbits(32):08x}-{number}"
            if fields:
                redis.hset(f"rq:job:{job}", mapping=fields)
            redis.lpush("rq:queue:tiny.normal", job)
    yield 0


@fault("dashboards", 1)
def dashboards(scene: Scene) -> Steps:
    """RQ's own registries read by four at a time, which clean up as they read."""

    def read() -> None:
        for _ in range(20):
            with suppress(RedisError):
                queue = PlainQueue("tiny.normal", connection=scene.house.redis)
                StartedJobRegistry(queue=queue).get_job_ids()
                assert queue.count >= 0

    with scene.fault("dashboards", "queue"):
        readers = [threading.Thread(target=read, daemon=True) for _ in range(4)]
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers):
            yield 0.05


@fault("poison", 1)
def poison(scene: Scene) -> Steps:
    """A job that kills whatever engine makes it."""
    words = scene.rng.choice((traps.KILLS_AT_PROMPT, traps.KILLS_AT_STEP))
    with scene.fault("poison", "clients"):
        yield from _submitted(scene, {"prompt": words, "num_inference_steps": 6}, sort="poison")


@fault("model cut short", 0.5)
def model_cut_short(scene: Scene) -> Steps:
    with scene.fault("model cut short", "clients"):
        yield from _submitted(scene, {"prompt": "a cat", "model": "cut-short"}, sort="cut-short")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _stop(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def _pause(pid: int, seconds: float) -> Steps:
    _stop(pid)
    try:
        yield seconds
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _trap(scene: Scene, kind: str, name: str) -> Steps:
    """Whoever comes by first; who does not come within a lease is spared."""
    if name in scene.busy:
        return
    with scene.fault(kind, name):
        traps.set_trap(scene.house.traps, name)
        for _ in range(int(10 * scene.lease_s)):
            if traps.was_sprung(scene.house.traps, name):
                break
            yield 0.1
        (scene.house.traps / name).unlink(missing_ok=True)


def _ended(scene: Scene, kind: str, number: int, name: str) -> Steps:
    if member := scene.member(kind):
        with scene.fault(name, member.name):
            member.signal(number)
            while not scene.house.ended(member, 0):
                yield 0.1
            if number == signal.SIGTERM and member.status != 0:
                scene.house.unexpected.append(f"{member.name} ended with {member.status}")
            yield scene.some(0, 1)
            scene.come_back(member)


def _valkey_down(scene: Scene, kind: str, down_s: float, *, torn: bool = False) -> Steps:
    if "valkey" in scene.busy:
        return
    with scene.fault(kind, "valkey", down_s=down_s):
        scene.house.kill_valkey()
        if torn:
            with scene.house.append_only_file().open("ab") as file:
                file.write(
                    b"*3\r\n$3\r\nSET\r\n$4\r\nwhat\r\n$9\r\nnev"[: scene.rng.randint(1, 38)]
                )
        yield down_s
        scene.house.valkey.start()


def _disk_full(scene: Scene, kind: str, names: tuple[str, ...]) -> Steps:
    if "disk" in scene.busy:
        return
    disk, pids = scene.house.disk, scene.house.pids()
    with scene.fault(kind, "disk"):
        for name in names:
            disk.fill(name, pids)
        yield scene.some(1, 5)
        for name in names:
            disk.free(name, scene.house.pids())
