"""The one way from routes to jobs and their pictures, told who asks; in the service only."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from anyio import to_thread

from darkroom.draft import Draft
from darkroom.errors import (
    DarkroomError,
    DependencyError,
    QueueUnavailableError,
    StoreUnavailableError,
)
from darkroom.images import ImageStore, StoredImage
from darkroom.job import Job, JobOptions, JobStatus
from darkroom.queue import jobs
from darkroom.queue.events import Event, EventFeed, Watch
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.outlook import Outlook
from darkroom.queue.shared_read import SharedRead
from service.pictures.intake import InputImages, Taken


@dataclass(frozen=True)
class Asker:
    """Who asks. Today everybody is the same owner, and so sees every job."""

    owner: str = ""


async def who_asks() -> Asker:
    """Here askers would be told apart: FastAPI hands in what it names of the HTTP request."""
    return Asker()


@dataclass(frozen=True)
class Jobs:
    """The jobs of who asks; those of others are as if they were not there.

    Methods raise QueueUnavailableError, and those about pictures StoreUnavailableError."""

    asker: Asker
    client: AsyncClient
    feed: EventFeed
    store: ImageStore
    inputs: InputImages
    outlook: SharedRead[Outlook]

    async def submit(
        self,
        request: Mapping[str, Any],
        options: JobOptions,
        *,
        model: str,
        warnings: Sequence[str],
        idempotency_key: str | None,
        fingerprint: str | None,
        work_s: float,
    ) -> jobs.Submitted:
        """Accept a job. Raises QueueFullError, IdempotencyMismatchError."""
        submitted = await self.client.carry_out(
            jobs.submit(
                request,
                model=model,
                warnings=warnings,
                idempotency_key=idempotency_key,
                fingerprint=fingerprint,
                owner=self.asker.owner,
                work_s=work_s,
                **options.model_dump(),
            )
        )
        job = await self._with_eta(submitted.job)
        if job.queue and not submitted.replayed:
            with suppress(QueueUnavailableError):
                (await self.outlook.value()).accepted(job.queue, job.created_at.timestamp())
        return replace(submitted, job=job)

    async def ask(
        self, *, idempotency_key: str | None, fingerprint: str | None
    ) -> jobs.Submitted | None:
        """Whether a job would be accepted now: None, or the earlier one of the key. Raises what
        `submit` raises."""
        return await self.client.carry_out(
            jobs.ask(
                idempotency_key=idempotency_key,
                fingerprint=fingerprint,
                owner=self.asker.owner,
            )
        )

    async def fetch(self, job_id: str) -> Job:
        """Raises JobNotFoundError, ExpiredError."""
        job = await self.client.carry_out(jobs.fetch(job_id, owner=self.asker.owner))
        return await self._with_eta(job)

    async def cancel(self, job_id: str) -> Job:
        """Raises JobNotFoundError, ExpiredError."""
        return await self.client.carry_out(jobs.cancel(job_id, owner=self.asker.owner))

    async def delete(self, job_id: str) -> None:
        """Delete a job and its pictures. Raises JobNotFoundError."""
        images = await self.client.carry_out(jobs.delete(job_id, owner=self.asker.owner))
        # The job is gone; pictures that stay now are orphans, which the keeper deletes.
        with suppress(StoreUnavailableError):
            await to_thread.run_sync(self.store.delete, images)

    async def page(
        self,
        *,
        status: JobStatus | None,
        model: str | None,
        tag: str | None,
        limit: int,
        cursor: str | None,
    ) -> jobs.Page:
        """Jobs that match, newest first."""
        listing = jobs.page(
            status=status,
            model=model,
            tag=tag,
            limit=limit,
            cursor=cursor,
            owner=self.asker.owner,
        )
        page = await self.client.carry_out(listing)
        return replace(page, jobs=[await self._with_eta(job) for job in page.jobs])

    def watch(self, job_id: str, *, until_end: bool = False) -> AbstractAsyncContextManager[Watch]:
        """Watch a job, every change of it or its end alone. Tells nothing of itself but when it may
        be worth to read on: see `watched` and, for a job that was fetched here, its history."""
        return self.feed.watch(job_id, until_end=until_end)

    async def watched(self, watch: Watch) -> Job:
        """The job of a watch, as it is now. Raises JobNotFoundError, ExpiredError."""
        return await self._with_eta((await watch.look()).job(self.asker.owner))

    async def history(self, job: Job, after: str | None) -> list[Event]:
        """The events of a job that was fetched here, after the one with id `after`."""
        return await self.feed.history(job.id, after)

    async def find_image(self, image_id: str) -> StoredImage:
        """A finished picture. Its id is told to those alone who may read its job, and cannot be
        guessed: who knows it may have the picture. Raises ImageNotFoundError."""
        return await to_thread.run_sync(self.store.find, image_id)

    async def take_inputs(self, draft: Draft) -> Taken:
        """The draft with its pictures in the store. Who names an earlier input by its hash has had
        it. Raises InvalidRequestError, DecodersBusyError."""
        return await self.inputs.take(draft, self.find_image)

    async def _with_eta(self, job: Job) -> Job:
        """The job and, if it waits, when it is likely to be done."""
        if job.queue is None:
            return job
        try:
            outlook = await self.outlook.value()
        except QueueUnavailableError:  # what is known of the job is worth more
            return job
        eta_s = outlook.eta_s(job.queue, job.created_at.timestamp())
        place = job.queue.model_copy(update={"eta_s": eta_s})
        return job.model_copy(update={"queue": place})

    @asynccontextmanager
    async def accepting(self, taken: Taken) -> AsyncIterator[None]:
        """Deletes the new pictures of a draft again if it is refused in here."""
        try:
            yield
        except DependencyError:  # perhaps the job was accepted all the same
            raise
        except DarkroomError:
            with suppress(StoreUnavailableError):
                await self.inputs.give_up(taken.written)
            raise
