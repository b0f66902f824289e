"""Who asks: their key and what they have of it, and what is their own, as a whole."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from darkroom.api_keys import SCOPES, Limits, Scope
from darkroom.queue.use import Use
from service.dependencies import Here, WhoAsks
from service.own_data import Erased, erase
from service.problems import problems

router = APIRouter(tags=["me"])

_GOES_ON: dict[int | str, dict[str, Any]] = {
    202: {"model": Erased, "description": "It is much; the keeper removes the rest."}
}


class Me(BaseModel):
    """An API key, without its secret."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["key"] = "key"
    """What this is."""
    id: str | None
    """The middle part of the key; null where none is asked for."""
    name: str | None
    """What its operator calls it."""
    scopes: list[Scope]
    """What it may do; where no keys are asked for, everybody may do all."""
    expires_at: datetime | None
    """From when on it is refused; null: never."""
    limits: Limits
    """What it may have."""
    use: Use
    """What it has of that now; where no keys are asked for, of all who ask without one."""


@router.get("/me", responses=problems("queue_unavailable"))
async def read_me(here: Here, asker: WhoAsks) -> Me:
    """The key that this request brings, its limits and what is used of them."""
    key = asker.key
    return Me(
        id=key and key.id,
        name=key and key.name,
        scopes=list(key.scopes if key else SCOPES),
        expires_at=key and key.expires_at,
        limits=asker.limits,
        use=await here.keys.use(asker.owner),
    )


@router.delete(
    "/me/data",
    response_model=Erased,
    responses=_GOES_ON | problems("queue_unavailable"),
)
async def erase_my_data(here: Here, asker: WhoAsks) -> Response:
    """Delete all that was made with your key up to now: jobs, with their pictures, events and
    idempotency keys, and files. Jobs that wait or run are canceled first.

    Where no keys are asked for, that is all that was made without one."""
    told = await erase(here.client, here.store, asker.owner)
    status = 200 if told.status == "erased" else 202
    headers = {"Cache-Control": "no-store"}
    return Response(told.model_dump_json(), status, headers, "application/json")
