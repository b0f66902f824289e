"""What waits, and pausing it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from darkroom import logs
from darkroom.errors import ModelNotFoundError
from darkroom.queue.jobs import queues
from darkroom.queue.pausing import Paused, paused, switch
from service.dependencies import Darkroom, ForAdmins, Here, WhoAsks
from service.problems import problems
from service.responses import QueueListing

log = logs.get("queue")

router = APIRouter(tags=["queue"])

OneModel = Annotated[
    str | None,
    Query(
        max_length=200,
        description="A model's name or alias; left out: the queues of all models.",
        examples=["emoji"],
    ),
]
_REFUSALS = ("forbidden", "model_not_found", "invalid_parameters", "queue_unavailable")


@router.get("/queue", responses=problems("queue_unavailable"))
async def list_queues(here: Here) -> QueueListing:
    """Every queue: one per model and priority, with its length and the age of its oldest job; and
    what is paused."""
    found = await here.client.carry_out(queues())
    return QueueListing(data=found, paused=await here.client.carry_out(paused()))


@router.post("/queue/pause", responses=problems(*_REFUSALS), dependencies=[ForAdmins])
async def pause_queue(here: Here, asker: WhoAsks, model: OneModel = None) -> Paused:
    """Let the jobs of a model, or of all, wait until they are resumed. New ones are accepted, those
    that run go on. Where keys are asked for, with the scope `admin`. A repeat changes nothing."""
    return await _switch(here, "pause", model, asker.owner)


@router.post("/queue/resume", responses=problems(*_REFUSALS), dependencies=[ForAdmins])
async def resume_queue(here: Here, asker: WhoAsks, model: OneModel = None) -> Paused:
    """Let the jobs of a model, or of all, go on. Without `model` every pause ends; with it, one of
    all models stays. Where keys are asked for, with the scope `admin`. A repeat changes nothing."""
    return await _switch(here, "resume", model, asker.owner)


async def _switch(
    here: Darkroom, verb: Literal["pause", "resume"], model: str | None, key_id: str
) -> Paused:
    name = model and await _known(here, model)
    state = await here.client.carry_out(switch(verb, name))
    log.info(f"queue_{verb}d", model=name or "all", key_id=key_id)
    return state


async def _known(here: Darkroom, model: str) -> str:
    """The model's own name. Jobs of one that is no longer on offer may wait all the same.

    Raises ModelNotFoundError."""
    try:
        return here.catalog.find(model).name
    except ModelNotFoundError:
        waiting = {state.model for state in await here.client.carry_out(queues())}
        if model in waiting.union((await here.client.carry_out(paused())).models):
            return model
        raise
