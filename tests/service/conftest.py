"""A real service: uvicorn in a thread, a real Valkey, real HTTP; the tests work the jobs."""

import asyncio
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from PIL import Image
from redis import Redis

from darkroom.api_keys import USUAL_SCOPES, Limits, Scope, Token, new_key
from darkroom.command.valkey import RedisServer
from darkroom.job import ImageRecord, Job, JobStatus, new_image_id
from darkroom.model_record import ModelRecord
from darkroom.queue import api_keys
from darkroom.queue.exchange import Client
from darkroom.queue.lua import PLAIN_RULES, scripts
from darkroom.queue.model_records import ModelRecords
from darkroom.queue.queue import Claim, Queue, queue_bell, queue_names
from darkroom.queue.workers import WorkerInfo, Workers
from darkroom.settings import Settings
from service.__main__ import Server
from service.app import create_app
from service.dependencies import Darkroom
from tests.begun import begun
from tests.waiting import until

MODELS = """
default = "pix"
[[models]]
name = "pix"
source = "tiny/pix"
aliases = ["demo"]
licence = "CC0-1.0"
defaults = { width = 64, height = 64 }
limits = { max_size = 512, max_pixels = 65536, max_steps = 100, max_images = 4 }
[[styles]]
name = "ink"
prompt = "{prompt}, ink"
negative_prompt = "photo"
[[models]]
name = "other"
source = "tiny/other"
styles = [{ name = "ink", prompt = "{prompt}, blue ink" }]
loras = [
    { name = "ink", source = "tiny/ink", licence = "CC0-1.0" },
    { name = "torn", source = "tiny/torn" },
    { name = "quick", source = "tiny/quick", defaults = { num_inference_steps = 3 } },
]
controlnets = [{ name = "canny", source = "tiny/canny" }]
"""

NAMES = ("pix", "other")

RECORDS = [
    ModelRecord(
        name=name,
        tasks=("text-to-image", "image-to-image"),
        schedulers=("DDIMScheduler", "EulerDiscreteScheduler"),
        scheduler="DDIMScheduler",
        width=64,
        height=64,
    )
    for name in NAMES
]


@dataclass(frozen=True)
class Served:
    url: str
    here: Darkroom
    server: Server


@pytest.fixture(scope="session", autouse=True)
def quiet() -> Iterator[None]:
    """Servers run in threads: their lines would land in the output of other tests."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def models_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.toml"
    path.write_text(MODELS)
    return path


@pytest.fixture(scope="session")
def serving(models_toml: Path) -> Iterator[Callable[..., Served]]:
    """Starts services; all are stopped at the end."""
    running: list[tuple[Server, threading.Thread]] = []
    loops: dict[threading.Thread, asyncio.AbstractEventLoop] = {}

    def start(**settings: object) -> Served:
        given = {"port": 0, "models": models_toml, "max_body_mb": 1} | settings
        app = create_app(Settings(_env_file=None, **given))
        urls: list[str] = []
        listening = threading.Event()

        def ready(url: str) -> None:
            urls.append(url)
            loops[threading.current_thread()] = asyncio.get_running_loop()
            listening.set()

        server = Server(app, app.state.darkroom.settings, ready)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        assert listening.wait(20)
        return Served(urls[0], app.state.darkroom, server)

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(20)
        if thread.is_alive():  # what it waits for
            for task in asyncio.all_tasks(loops[thread]):
                task.print_stack(file=sys.__stderr__)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def served(
    serving: Callable[..., Served], valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    return serving(redis_url=valkey.url, state_dir=tmp_path_factory.mktemp("state"))


@pytest.fixture
def here(served: Served, redis: Redis) -> Darkroom:
    """What the service works with, Redis emptied, the models known."""
    know_models(redis)
    return served.here


@pytest.fixture
def jobs(redis: Redis) -> Queue:
    """The queue of the service, as the tests' own thread reaches it."""
    return Queue(redis)


def know_models(redis: Redis) -> None:
    """Both models were loaded by a worker once."""
    for record in RECORDS:
        ModelRecords(redis).put(record)


def knows(redis: Redis, name: str, *tasks: str, **more: object) -> None:
    """A worker loaded the model, and found that it does these tasks."""
    known = RECORDS[0].model_dump() | {"name": name, "tasks": tasks} | more
    ModelRecords(redis).put(ModelRecord.model_validate(known))


def only(jobs: Queue) -> Job:
    """The one job that there is."""
    [job] = jobs.page().jobs
    return job


@pytest.fixture
def api(served: Served, here: Darkroom) -> Iterator[httpx2.Client]:  # noqa: ARG001
    with httpx2.Client(base_url=served.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def guarded(
    serving: Callable[..., Served], valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """A service that asks for keys."""
    state_dir = tmp_path_factory.mktemp("state")
    return serving(redis_url=valkey.url, state_dir=state_dir, keys="on")


@pytest.fixture(scope="session")
def telling(
    serving: Callable[..., Served], valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """A service that asks for keys and sends webhooks."""
    return serving(
        redis_url=valkey.url,
        state_dir=tmp_path_factory.mktemp("state"),
        keys="on",
        webhooks=True,
        outbound_networks="127.0.0.1/32",
    )


@pytest.fixture
def made(redis: Redis) -> Callable[..., Token]:
    """Makes keys."""
    client = Client(redis, scripts(PLAIN_RULES))

    def make(
        name: str = "web",
        scopes: Sequence[Scope] = USUAL_SCOPES,
        life: timedelta | None = None,
        **limits: int,
    ) -> Token:
        key, token = new_key(name, scopes, life, Limits(**limits))
        assert client.carry_out(api_keys.put(key))
        return token

    return make


@pytest.fixture
def http(guarded: Served, redis: Redis) -> Iterator[httpx2.Client]:
    """A client of the service that asks for keys, without one."""
    know_models(redis)
    with httpx2.Client(base_url=guarded.url, timeout=20) as client:
        yield client


def bearer(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.reveal()}"}


@pytest.fixture
def guarded_work(guarded: Served, redis: Redis) -> "Work":
    """Who works its jobs."""
    return Work(Queue(redis), guarded.here)


@pytest.fixture
def submitted(api: httpx2.Client) -> Callable[..., dict]:
    """Submits a job and returns it as it was answered."""

    def submit(**body: object) -> dict:
        response = api.post("/api/v1/jobs", json={"prompt": "a cat"} | body)
        assert response.status_code == 202, response.text
        return response.json()

    return submit


class Work:
    """Does what an engine does to the queue, without a model."""

    def __init__(self, queue: Queue, here: Darkroom) -> None:
        self.queue = queue
        self.store = here.store

    def next(self, patience_s: float = 1) -> Claim | None:
        """The next job, or None if there is none and no bell rang in time."""
        claim = begun(self.queue, worker="worker", queues=queue_names(NAMES))
        if claim is None:
            self.queue.wait([queue_bell(name) for name in NAMES], patience_s)
        return claim

    def claim(self, patience_s: float = 10) -> Claim:
        """The next job; waits for one at the bells."""
        give_up = time.monotonic() + patience_s
        while time.monotonic() < give_up:
            if claim := self.next():
                return claim
        raise AssertionError("no job came")

    def finish(self, claim: Claim, status: JobStatus = JobStatus.SUCCEEDED, **more: object) -> None:
        images = self.images(claim) if status is JobStatus.SUCCEEDED else []
        assert self.queue.finish(claim, status, images=images, **more) == "committed"

    def images(self, claim: Claim) -> list[ImageRecord]:
        records = []
        for index in range(claim.request["num_images"]):
            image_format = claim.request.get("output", {}).get("format", "png")
            image_id, data = new_image_id(), picture(image_format, color=(index, 9, 9))
            self.store.put(image_id, data, image_format)
            record = ImageRecord(
                id=image_id,
                url=f"/api/v1/images/{image_id}",
                width=8,
                height=8,
                seed=claim.request["seed"] + index,
                format=image_format,
                bytes=len(data),
                sha256="0" * 64,
            )
            records.append(record)
        return records

    def all(self) -> Job:
        """Claims the next job and finishes it; returns it."""
        claim = self.claim()
        self.finish(claim)
        return self.queue.fetch(claim.job_id)


@pytest.fixture
def work(here: Darkroom, jobs: Queue) -> Work:
    return Work(jobs, here)


@pytest.fixture
def background(here: Darkroom) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Runs a function in a thread as soon as somebody waits for a job."""
    threads: list[threading.Thread] = []
    faults: list[BaseException] = []

    def start(function: Callable[[], object]) -> None:
        def run() -> None:
            try:
                until(lambda: here.feed.waiters)
                function()
            except BaseException as fault:
                faults.append(fault)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(20)
    assert not faults


@pytest.fixture
def finishing(background: Callable[..., None], work: Work) -> Callable[..., None]:
    """Finishes the next job as soon as somebody waits for it."""

    def finish(*args: Any, **more: Any) -> None:
        background(lambda: work.finish(work.claim(), *args, **more))

    return finish


@pytest.fixture
def announced(redis: Redis) -> Callable[..., WorkerInfo]:
    """Lets a worker announce itself."""

    def announce(**given: object) -> WorkerInfo:
        about = {"name": "worker", "models": (), "serves": (), "started_at": datetime.now(UTC)}
        about |= {"engine": "engine", "state": "idle", "device": "cpu", "version": "0"}
        info = WorkerInfo(**{"max_jobs": 8, "running": 0} | about | given)
        Workers(redis).announce(info, ttl_s=60)
        return info

    return announce


@pytest.fixture
def predicting() -> Iterator[Callable[..., Any]]:
    """Makes Replicate's clients of services; all are closed at the end."""
    from replicate import Client as Replicate  # which takes a second to import

    clients: list[Replicate] = []

    def connect(served: Served, token: str = "none", **more: Any) -> Replicate:
        client = Replicate(api_token=token, base_url=f"{served.url}/replicate", **more)
        client.poll_interval = 0.01
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client._client.close()  # it has no way to be closed itself


def png(size: tuple[int, int] = (8, 8), color: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    return picture("png", size, color)


def picture(
    image_format: str, size: tuple[int, int] = (8, 8), color: tuple[int, int, int] = (200, 30, 30)
) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, image_format)
    return file.getvalue()
