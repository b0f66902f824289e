"""What routes ask for, as typed aliases; built once per process by `create_app`."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from darkroom.catalog import Models
from darkroom.errors import JobNotFoundError
from darkroom.images import ImageStore
from darkroom.offers import ModelRecords, Offer, offer
from darkroom.queue.events import EventFeed
from darkroom.queue.queue import Queue
from darkroom.queue.workers import WorkerInfo, Workers
from darkroom.settings import Settings
from service.uploads import InputImages

_JOB_ID = re.compile(r"job_[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class Darkroom:
    """Everything the routes work with. All but `feed` blocks: call it from threads."""

    settings: Settings
    models: Models
    records: ModelRecords
    workers: Workers
    queue: Queue
    store: ImageStore
    inputs: InputImages
    feed: EventFeed

    def offer(self, name: str | None) -> Offer:
        """What the model `name` offers now. Raises ModelNotFoundError."""
        card = self.models.find(name)
        return offer(self.models, card, self.records.all().get(card.name))

    def offers(self) -> list[Offer]:
        """What each model offers now."""
        records = self.records.all()
        cards = self.models.cards.values()
        return [offer(self.models, card, records.get(card.name)) for card in cards]

    def serving(self, model: str) -> list[WorkerInfo]:
        """The living workers that serve a model."""
        return [worker for worker in self.workers.all() if model in worker.serves]


async def _darkroom(http: Request) -> Darkroom:
    return http.app.state.darkroom


async def _job_id(
    job_id: Annotated[
        str, Path(description="The job's id.", examples=["job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"])
    ],
) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise JobNotFoundError("No job has this id.")
    return job_id


Here = Annotated[Darkroom, Depends(_darkroom)]
JobId = Annotated[str, Depends(_job_id)]
IfNoneMatch = Annotated[
    str | None, Header(description="The ETag of the answer you have; if it still holds: 304.")
]
