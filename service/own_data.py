"""Removing all that is a client's own; in the service only."""

from contextlib import suppress
from typing import Literal

from anyio import to_thread
from pydantic import BaseModel, ConfigDict

from darkroom.errors import StoreUnavailableError
from darkroom.images import ImageStore
from darkroom.queue import erasure
from darkroom.queue.exchange import AsyncClient

MOST_STEPS = 10
"""Of 100 jobs each; the keeper does the rest."""


class Erased(BaseModel):
    """What became of all that is yours."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    object: Literal["erasure"] = "erasure"
    """What this is."""
    status: Literal["erased", "erasing"]
    """erased: all of it is removed; erasing: it is much, and the keeper removes the rest."""
    jobs: int
    """Jobs that were removed now; those that had not ended were canceled."""
    images: int
    """Finished pictures of theirs."""
    files: int
    """Files that were removed now."""


async def erase(client: AsyncClient, store: ImageStore, owner: str) -> Erased:
    """Remove what an owner has made by now, or enough of it. Raises QueueUnavailableError."""
    asked = await client.carry_out(erasure.begin(owner))
    told = Erased(status="erasing", jobs=0, images=0, files=0)
    below: int | None = None
    for _ in range(MOST_STEPS):
        step = await client.carry_out(erasure.erase_some(asked, below))
        # The jobs are gone; pictures that stay now are orphans, which the keeper deletes.
        with suppress(StoreUnavailableError):
            await to_thread.run_sync(store.delete, step.images)
        told.jobs += step.jobs
        told.images += len(step.images)
        told.files += step.files
        below = step.next
        if below is None:
            await client.carry_out(erasure.end(asked))
            told.status = "erased"
            break
    return told
