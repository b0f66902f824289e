"""Is it alive, is it ready, what does it count; outside `/api/v1`, for machines."""

import platform
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from darkroom import __version__
from darkroom.errors import DependencyError, QueueUnavailableError, StoreUnavailableError
from darkroom.metrics import CONTENT_TYPE, exposition, look
from darkroom.queue.jobs import check
from service.dependencies import Darkroom, Here
from service.errors import Fault, answer
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
    """For `redis`, `store`, `workers` and `models`: `ok`, or a sentence."""
    models: dict[str, ReadyModel] = {}
    """The models on offer."""
    workers: list[ReadyWorker] = []
    """The living workers."""


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
    "/readyz", responses=problems("queue_unavailable", "store_unavailable"), response_model=Ready
)
async def readyz(http: Request, here: Here) -> Response | Ready:
    """Jobs are accepted. 503 only while Redis or the image store is away.

    Missing workers, and such as still start, make it `degraded`, still 200: jobs wait for them,
    nothing is lost. `models` says of each model whether it is in memory.
    """
    checks = {"redis": "ok", "store": "ok", "workers": "ok"}
    seen: dict[str, Any] = {}

    async def test(name: str, look: Callable[[Darkroom], Awaitable[str]]) -> None:
        with anyio.move_on_after(CHECK_TIMEOUT_S) as scope:
            checks[name] = await look(here)
        if scope.cancelled_caught:
            checks[name] = f"No answer within {CHECK_TIMEOUT_S:g} s."

    async def workers(here: Darkroom) -> str:
        sentence, found = await _workers(here)
        seen.update(found)
        return sentence

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(test, "redis", _redis)
        tasks.start_soon(test, "store", _store)
        tasks.start_soon(test, "workers", workers)
    checks["models"] = _models_file(here)
    wrong = [name for name, sentence in checks.items() if sentence != "ok"]
    detail = " ".join(checks[name] for name in wrong) or "Jobs are accepted and worked on."
    if {"redis", "store"}.isdisjoint(wrong):
        status: Literal["ready", "degraded"] = "degraded" if wrong else "ready"
        return Ready(status=status, detail=detail, checks=checks, **seen)
    fault = QueueUnavailableError if "redis" in wrong else StoreUnavailableError
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


def _models_file(here: Darkroom) -> str:
    """What is wrong with models.toml as it is now."""
    if here.catalog and here.models.fault:
        return f"{here.models.fault} Until that is mended, models are as they were before."
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


async def _workers(here: Darkroom) -> tuple[str, dict[str, Any]]:
    """A sentence, and what is seen of models and workers."""
    try:
        workers, records = await here.workers(), await here.records()
    except DependencyError:
        return "The workers are not known without Redis.", {}
    models = ready_models(list(here.catalog.cards), records, workers)
    return verdict(models, workers), {"models": models, "workers": ready_workers(workers)}
