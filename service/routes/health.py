"""Is it alive, is it ready, what does it count; outside `/api/v1`, for machines."""

import platform
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from darkroom import __version__
from darkroom.errors import DependencyError, QueueUnavailableError, StoreUnavailableError
from darkroom.metrics import CONTENT_TYPE, exposition, look
from darkroom.queue.jobs import check
from darkroom.queue.pausing import paused
from service.dependencies import Darkroom, Here, WhoAsks
from service.errors import Fault, answer, fault_of
from service.problems import problems
from service.readiness import ReadyModel, ReadyWorker, ready_models, ready_workers, verdict

router = APIRouter(tags=["operation"])

CHECK_TIMEOUT_S = 3.0


class Alive(BaseModel):
    """That the process answers."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Literal["alive"] = "alive"
    """The process answers."""


class Ready(BaseModel):
    """Whether jobs are accepted (`ready`), and whether all of them would be worked on."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Literal["ready", "degraded"]
    """`degraded`: jobs are accepted, but not all would be worked on."""
    detail: str
    """A sentence for people."""
    checks: dict[str, str]
    """For `redis`, `store`, `workers`, `queues` and `models`: `ok`, or a sentence."""
    models: dict[str, ReadyModel] = {}
    """The models on offer."""
    workers: list[ReadyWorker] = []
    """The living workers."""


class ReadyAtAll(BaseModel):
    """What is told to who has no API key, where one is asked for."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    status: Literal["ready", "degraded"]
    """As with a key."""


class Version(BaseModel):
    """Which Darkroom this is."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Literal["darkroom"] = "darkroom"
    """What this is."""
    version: str = __version__
    """Of Darkroom."""
    python: str = platform.python_version()
    """Of Python."""
    api: list[str] = ["v1"]
    """Versions of the API that are served."""


@router.get("/livez")
async def livez() -> Alive:
    """The process answers. Touches nothing else: restart it if this fails."""
    return Alive()


@router.get(
    "/readyz",
    responses=problems("queue_unavailable", "store_unavailable"),
    response_model=Ready | ReadyAtAll,
)
async def readyz(http: Request, here: Here, asker: WhoAsks) -> Response | Ready | ReadyAtAll:
    """Jobs are accepted. 503 only while Redis or the image store is away.

    Missing workers, such as still start, and paused queues make it `degraded`, still 200: jobs
    wait, nothing is lost. `models` says of each model whether it is in memory. Without a key, where
    one is asked for, there is the `status` alone.
    """
    # One reading for both: the file may change before the others have answered.
    on_offer, unread = list(here.catalog.cards), here.models.fault
    checks = {"redis": "ok", "store": "ok", "workers": "ok", "queues": "ok"}
    seen: dict[str, Any] = {}

    async def test(name: str, look: Callable[[Darkroom], Awaitable[str]]) -> None:
        with anyio.move_on_after(CHECK_TIMEOUT_S) as scope:
            checks[name] = await look(here)
        if scope.cancelled_caught:
            checks[name] = f"No answer from {name} within {CHECK_TIMEOUT_S:g} s."

    async def workers(here: Darkroom) -> str:
        sentence, found = await _workers(here, on_offer)
        seen.update(found)
        return sentence

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(test, "redis", _redis)
        tasks.start_soon(test, "store", _store)
        tasks.start_soon(test, "workers", workers)
        tasks.start_soon(test, "queues", _queues)
    checks["models"] = _models_file(unread)
    wrong = [name for name, sentence in checks.items() if sentence != "ok"]
    detail = " ".join(checks[name] for name in wrong) or "Jobs are accepted and worked on."
    if {"redis", "store"}.isdisjoint(wrong):
        status: Literal["ready", "degraded"] = "degraded" if wrong else "ready"
        if not asker.is_known:
            return ReadyAtAll(status=status)
        return Ready(status=status, detail=detail, checks=checks, **seen)
    fault = QueueUnavailableError if "redis" in wrong else StoreUnavailableError
    if not asker.is_known:
        return answer(http, fault_of(fault("")))
    return answer(http, Fault(503, fault.code, detail, more={"checks": checks}))


@router.get("/metrics", response_class=Response)
async def metrics(here: Here) -> Response:
    """Counters and gauges in Prometheus' text format, the same from every replica."""
    try:
        seen = await here.client.carry_out(look())
    except DependencyError:
        seen = None
    text = exposition(seen)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type=CONTENT_TYPE)


@router.get("/version")
async def version() -> Version:
    """Which Darkroom this is."""
    return Version()


def _models_file(fault: str | None) -> str:
    """What is wrong with models.toml."""
    if fault:
        return f"{fault} Until that is mended, models are as they were before."
    return "ok"


async def _redis(here: Darkroom) -> str:
    try:
        await here.client.carry_out(check())
    except DependencyError:
        return "Redis cannot be reached, or takes no writes."
    return "ok"


async def _store(here: Darkroom) -> str:
    try:
        await to_thread.run_sync(here.store.check, abandon_on_cancel=True)
    except DependencyError as error:
        return str(error)
    return "ok"


async def _queues(here: Darkroom) -> str:
    try:
        return str(await here.client.carry_out(paused())) or "ok"
    except DependencyError:
        return "What is paused is not known without Redis."


async def _workers(here: Darkroom, on_offer: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """A sentence, and what is seen of models and workers."""
    try:
        workers, records = await here.workers(), await here.records()
    except DependencyError:
        return "The workers are not known without Redis.", {}
    models = ready_models(on_offer, records, workers)
    return verdict(models, workers), {"models": models, "workers": ready_workers(workers)}
