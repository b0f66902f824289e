"""What waits, and who works."""

from fastapi import APIRouter

from darkroom.queue.jobs import QueueState, queues
from darkroom.queue.workers import WorkerInfo
from service.dependencies import Here
from service.problems import problems
from service.responses import Listing

router = APIRouter(tags=["queue"])


@router.get("/queue", responses=problems("queue_unavailable"))
async def list_queues(here: Here) -> Listing[QueueState]:
    """Every queue: one per model and priority, with its length and the age of its oldest job."""
    return Listing(data=await here.client.carry_out(queues()))


@router.get("/workers", responses=problems("queue_unavailable"))
async def list_workers(here: Here) -> Listing[WorkerInfo]:
    """The living workers: what each runs on, serves, and has in memory."""
    return Listing(data=await here.workers())
