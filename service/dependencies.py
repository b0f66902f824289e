"""What routes ask for, as typed aliases; built once per process by `create_app`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Header, Path, Query, Request
from pydantic import Field

from darkroom import named_loras
from darkroom.batch import BATCH_ID
from darkroom.catalog import Catalog
from darkroom.errors import BatchNotFoundError, ForbiddenError, JobNotFoundError
from darkroom.images import ImageStore
from darkroom.job import JOB_ID
from darkroom.live_catalog import LiveCatalog
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.offers import Offer, offer
from darkroom.outbound.client import Outbound
from darkroom.queue.events import EventFeed
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.model_records import all_records
from darkroom.queue.outlook import Outlook
from darkroom.queue.shared_read import SharedRead
from darkroom.queue.workers import WorkerInfo, living
from darkroom.settings import Settings
from service.access import Asker, Jobs, who_asks
from service.batch_access import Batches
from service.crowd import Crowd
from service.doctor import Check
from service.file_access import Files
from service.known_keys import Keys
from service.parameters import NUMBER, TRUE_OR_FALSE
from service.pictures.intake import InputImages
from service.preferences import EVENT_ID, LONGEST_WAIT_S
from service.signatures import Signatures


@dataclass(frozen=True)
class Darkroom:
    """Everything the routes work with; `store` blocks: call it from threads."""

    settings: Settings
    models: LiveCatalog
    client: AsyncClient
    store: ImageStore
    inputs: InputImages
    feed: EventFeed
    outlook: SharedRead[Outlook]
    waiting: Crowd
    keys: Keys
    doctor: SharedRead[list[Check]]
    outbound: Outbound | None
    """For webhooks; None where there are none."""
    signatures: Signatures

    @property
    def catalog(self) -> Catalog:
        """What models.toml says now."""
        self.models.refresh()
        return self.models

    def place(self, http: Request) -> AbstractContextManager[None]:
        """Among those who wait, counted by their key or, without one, their address. Raises
        BusyError, TooManyAtOnceError."""
        asker: Asker = http.scope["asker"]
        return self.waiting.place(asker.owner or (http.client and http.client.host))

    def jobs(self, asker: Asker) -> Jobs:
        return Jobs(asker, self.client, self.feed, self.store, self.inputs, self.outlook)

    def files(self, asker: Asker) -> Files:
        most = int(self.settings.max_files_mb * 2**20)
        return Files(asker, self.client, self.store, self.inputs, most)

    async def records(self) -> dict[str, ModelRecord]:
        """What workers found out about the models, by name."""
        return await self.client.carry_out(all_records())

    async def workers(self) -> list[WorkerInfo]:
        """The living workers."""
        return await self.client.carry_out(living())

    async def offer(self, card: ModelCard, record: ModelRecord | None) -> Offer:
        """What the model offers now."""
        if record and record.schedulers:
            return offer(self.catalog, card, record)
        return await to_thread.run_sync(offer, self.catalog, card, record)  # reads its folder

    async def offer_of(self, name: str) -> Offer:
        """The same of the model that is called so, in any way that the native API takes. Raises
        ModelNotFoundError, QueueUnavailableError."""
        card, _ = named_loras.find(self.catalog, name)
        return await self.offer(card, (await self.records()).get(card.name))

    async def all_offers(self) -> list[Offer]:
        """The same of each model. Raises QueueUnavailableError."""
        records = await self.records()
        cards = self.catalog.cards.values()
        return [await self.offer(card, records.get(card.name)) for card in cards]

    def offers(self, records: Mapping[str, ModelRecord]) -> list[Offer]:
        """What each model offers now."""
        cards = self.catalog.cards.values()
        return [offer(self.catalog, card, records.get(card.name)) for card in cards]


async def _darkroom(http: Request) -> Darkroom:
    here: Darkroom = http.app.state.darkroom
    return here


async def _job_id(
    job_id: Annotated[
        str, Path(description="The job's id.", examples=["job_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2b"])
    ],
) -> str:
    if not JOB_ID.fullmatch(job_id):
        raise JobNotFoundError("No job has this id.")
    return job_id


async def _batch_id(
    batch_id: Annotated[
        str,
        Path(description="The batch's id.", examples=["batch_019a5c6e7f1a7c3e8d2b4a6c8e0f1a2d"]),
    ],
) -> str:
    if not BATCH_ID.fullmatch(batch_id):
        raise BatchNotFoundError("No batch has this id.")
    return batch_id


Here = Annotated[Darkroom, Depends(_darkroom)]


async def _jobs(here: Here, asker: Annotated[Asker, Depends(who_asks)]) -> Jobs:
    return here.jobs(asker)


async def _files(here: Here, asker: Annotated[Asker, Depends(who_asks)]) -> Files:
    return here.files(asker)


async def _batches(jobs: Annotated[Jobs, Depends(_jobs)]) -> Batches:
    return Batches(jobs)


async def _place(http: Request, here: Here) -> AsyncIterator[None]:
    with here.place(http):
        yield


async def _admin(asker: Annotated[Asker, Depends(who_asks)]) -> None:
    if not asker.is_admin:
        raise ForbiddenError("This needs an API key with the scope admin.")


TheirJobs = Annotated[Jobs, Depends(_jobs)]
TheirFiles = Annotated[Files, Depends(_files)]
TheirBatches = Annotated[Batches, Depends(_batches)]
WhoAsks = Annotated[Asker, Depends(who_asks)]
ForAdmins = Depends(_admin)
"""Of a route: it takes a key with the scope admin."""
Place = Depends(_place)
"""A place among those who wait, until the answer is sent."""
JobId = Annotated[str, Depends(_job_id)]
BatchId = Annotated[str, Depends(_batch_id)]
Wait = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
    NUMBER,
    Query(
        description=f"Seconds to wait; more than {LONGEST_WAIT_S} is taken as {LONGEST_WAIT_S}.",
        examples=[30],
    ),
]
Prefer = Annotated[
    str | None,
    Header(
        description="`wait=N`: wait up to N seconds for the end of the job; more than "
        f"{LONGEST_WAIT_S} is taken as {LONGEST_WAIT_S}, and `Preference-Applied` says so. "
        "`respond-async`: do not wait.",
        examples=["wait=30"],
    ),
]
IsDryRun = Annotated[
    bool,
    TRUE_OR_FALSE,
    Query(
        description="`true`: no job is made; the answer, 200, tells what would come of it.",
        examples=[True],
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any word of yours for this request: sent again within 24 hours with the same "
        "body it returns the same job, with another one it is refused (422).",
        examples=["order-1234"],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        description="The ETag of the answer you have; if it still holds: 304.",
        examples=['"0f343b0931126a20f133d67c2b018a3b"'],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        description="The ETag of the job as you know it; if it is in another state: 412.",
        examples=['"0f343b0931126a20f133d67c2b018a3b"'],
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        pattern=EVENT_ID,
        description="The `id` of the last event you have; those after it follow.",
        examples=["1763724543000-0"],
    ),
]
After = Annotated[
    str | None,
    Query(
        pattern=EVENT_ID,
        description="Stands in for `Last-Event-ID`.",
        examples=["1763724543000-0"],
    ),
]
Range = Annotated[
    str | None,
    Header(
        alias="range",
        description="Which bytes of the picture to send; units other than bytes are ignored.",
        examples=["bytes=0-1023"],
    ),
]
