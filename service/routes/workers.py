"""Who works, and what is wrong where they do; for operators."""

from typing import Annotated

from fastapi import APIRouter, Path

from darkroom import logs
from darkroom.queue.workers import WorkerInfo, drain
from service.dependencies import ForAdmins, Here, WhoAsks
from service.doctor import Check
from service.problems import problems
from service.responses import Listing

log = logs.get("workers")

router = APIRouter(tags=["queue"], dependencies=[ForAdmins])


@router.get("/workers", responses=problems("forbidden", "queue_unavailable"))
async def list_workers(here: Here) -> Listing[WorkerInfo]:
    """The living workers: what each runs on, serves, and has in memory. Where keys are asked for,
    one with the scope `admin`."""
    return Listing(data=await here.workers())


@router.post(
    "/workers/{worker_name:path}/drain",
    status_code=202,
    responses=problems("forbidden", "worker_not_found", "queue_unavailable"),
)
async def drain_worker(
    here: Here,
    asker: WhoAsks,
    worker_name: Annotated[
        str,
        Path(max_length=200, description="A worker's `name`.", examples=["studio-1"]),
    ],
) -> WorkerInfo:
    """Let a worker end as at SIGTERM: it takes no more jobs, those that run get its grace period to
    end and then go back to the queue. It hears of it within a second, and answers here as it last
    said it was. Where keys are asked for, with the scope `admin`. A repeat changes nothing."""
    info = await here.client.carry_out(drain(worker_name))
    log.info("worker_told_to_drain", worker=info.name, key_id=asker.owner)
    return info


@router.get("/doctor", responses=problems("forbidden"))
async def examine(here: Here) -> Listing[Check]:
    """What `darkroom doctor` finds on the machine of the service, without loading models; it takes
    some seconds, and a minute at most. Where keys are asked for, with the scope `admin`."""
    return Listing(data=await here.doctor.value())
