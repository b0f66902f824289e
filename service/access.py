"""The one way from routes to jobs and their pictures, told who asks; in the service only."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from anyio import to_thread
from fastapi import Request

from darkroom.api_keys import NO_LIMITS, ApiKey, Limits
from darkroom.draft import Draft
from darkroom.errors import (
    DarkroomError,
    DependencyError,
    ForbiddenError,
    QueueUnavailableError,
    StoreUnavailableError,
)
from darkroom.images import ImageStore, StoredImage, no_image, no_input
from darkroom.job import INPUT_ID, NO_WORKER, Job, JobStatus, QueuePlace
from darkroom.job_options import JobMarks, JobOptions
from darkroom.queue import jobs, listing
from darkroom.queue.accepting import Terms
from darkroom.queue.calls import Call
from darkroom.queue.event_log import Event
from darkroom.queue.events import EventFeed, OwnerWatch, Waiter, Watch
from darkroom.queue.exchange import AsyncClient
from darkroom.queue.outlook import Outlook
from darkroom.queue.owned_pictures import has_sent, owns_image
from darkroom.queue.previews import latest
from darkroom.queue.shared_read import SharedRead
from service.pictures.intake import InputImages, Known, Taken
from service.pictures.messages import AS_SENT, ControlMap, Reading
from service.rates import require_budget


async def _for_ever() -> float:
    return math.inf


@dataclass(frozen=True)
class Asker:
    """Who asks: whoever has a key or, where none are asked for, everybody."""

    owner: str
    """Whose is what they make: the id of their key."""
    sees: str | None
    """Whose jobs they see; None: those of all."""
    is_admin: bool
    is_known: bool = True
    """Whether they have a key, where that is asked for."""
    left_s: Callable[[], Awaitable[float]] = _for_ever
    """For how many seconds more their key is valid. Raises UnauthenticatedError if it is no longer,
    QueueUnavailableError."""
    limits: Limits = NO_LIMITS
    key: ApiKey | None = None
    """None where no keys are asked for."""


EVERYBODY = Asker("", None, is_admin=True)
"""Where no keys are asked for."""
NOBODY = Asker("", "", is_admin=False, is_known=False)
"""Who has no key, on paths that need none."""


async def who_asks(http: Request) -> Asker:
    """Who was let in by `auth.Guard`."""
    asker: Asker = http.scope["asker"]
    return asker


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
        parent_id: str | None = None,
        call: Call | None = None,
    ) -> jobs.Submitted:
        """Accept a job. Raises QueueFullError, TooManyActiveJobsError, TooManyQueuedJobsError,
        GpuBudgetError, IdempotencyMismatchError, InvalidRequestError."""
        require_budget(self.asker.limits, work_s)
        submitted = await self.client.carry_out(
            jobs.submit(
                request,
                model=model,
                warnings=warnings,
                idempotency_key=idempotency_key,
                fingerprint=fingerprint,
                owner=self.asker.owner,
                max_active=self.asker.limits.max_active,
                max_queued=self.asker.limits.max_queued,
                gpu_seconds_per_day=self.asker.limits.gpu_seconds_per_day,
                work_s=work_s,
                parent_id=parent_id,
                call=call,
                **options.model_dump(),
            )
        )
        job = await self._with_eta(submitted.job)
        if job.queue and not submitted.replayed:
            with suppress(QueueUnavailableError):
                (await self.outlook.value()).accepted(job.queue, job.created_at.timestamp())
        return replace(submitted, job=job)

    async def ask(self, terms: Terms, work_s: float = 0.0) -> jobs.Submitted | None:
        """None where it would be accepted now, or the earlier one. Raises what `submit` does."""
        require_budget(self.asker.limits, work_s)
        return await self.client.carry_out(jobs.ask(terms, work_s))

    def terms(self, key: str | None, fingerprint: str | None, call: Call | None = None) -> Terms:
        """On which jobs of theirs are accepted."""
        limits = self.asker.limits
        return Terms(
            owner=self.asker.owner,
            idempotency_key=key,
            fingerprint=fingerprint,
            max_active=limits.max_active,
            max_queued=limits.max_queued,
            gpu_seconds_per_day=limits.gpu_seconds_per_day,
            per_minute=limits.per_minute,
            call=call,
        )

    async def next_place(self, queue: str, work_s: float, before: int = 0) -> QueuePlace:
        """Where a job of theirs would wait that was accepted now, after so many others."""
        place, now = await self.client.carry_out(jobs.next_place(queue, work_s))
        place = place.model_copy(update={"position": place.position + before})
        return await self._estimated(place, now)

    async def fetch(self, job_id: str) -> Job:
        """Raises JobNotFoundError, ExpiredError."""
        job = await self.client.carry_out(jobs.fetch(job_id, owner=self.asker.sees))
        return await self._with_eta(job)

    async def cancel(self, job_id: str) -> Job:
        """Raises JobNotFoundError, ExpiredError."""
        return await self.client.carry_out(jobs.cancel(job_id, owner=self.asker.sees))

    async def delete(self, job_id: str) -> None:
        """Delete a job and its pictures. Raises JobNotFoundError."""
        images = await self.client.carry_out(jobs.delete(job_id, owner=self.asker.sees))
        # The job is gone; pictures that stay now are orphans, which the keeper deletes.
        with suppress(StoreUnavailableError):
            await to_thread.run_sync(self.store.delete, images)

    async def mark(self, job_id: str, marks: JobMarks, seen: Job | None) -> Job | None:
        """As `jobs.mark`, whose errors it raises."""
        marking = jobs.mark(job_id, marks, seen=seen, owner=self.asker.sees)
        job = await self.client.carry_out(marking)
        return job and await self._with_eta(job)

    async def page(
        self,
        *,
        status: JobStatus | None = None,
        model: str | None,
        tag: str | None = None,
        batch: str | None = None,
        starred: bool | None = None,
        text: str | None = None,
        limit: int,
        cursor: str | None,
    ) -> listing.Page:
        """Jobs that match, newest first. Only in the prompts of their own jobs is `text` looked
        for, whoever asks."""
        asked = listing.page(
            status=status,
            model=model,
            tag=tag,
            batch=batch,
            starred=starred,
            text=text,
            limit=limit,
            cursor=cursor,
            owner=(self.asker.owner or self.asker.sees) if text else self.asker.sees,
        )
        page = await self.client.carry_out(asked)
        return replace(page, jobs=[await self._with_eta(job) for job in page.jobs])

    def watch(self, job_id: str, *, until_end: bool = False) -> AbstractAsyncContextManager[Watch]:
        """Watch a job, every change of it or its end alone. Tells nothing of itself but when it may
        be worth to read on: see `watched` and, for a job that was fetched here, its history."""
        return self.feed.watch(job_id, until_end=until_end)

    async def watched(self, watch: Watch) -> Job:
        """The job of a watch, as it is now. Raises JobNotFoundError, ExpiredError, and
        UnauthenticatedError once the key of who asks is no longer valid."""
        await self.asker.left_s()
        return await self._with_eta((await watch.look()).job(self.asker.sees))

    async def changed(self, watch: Waiter, timeout_s: float) -> bool:
        """Wait as `Waiter.changed` does, but not beyond the end of the key of who asks. Raises
        UnauthenticatedError."""
        return await watch.changed(min(timeout_s, await self.asker.left_s()))

    async def history(self, job: Job, after: str | None) -> list[Event]:
        """The events of a job that was fetched here, after the one with id `after`."""
        return await self.feed.history(job.id, after)

    def whose(self, owner: str | None) -> str | None:
        """Whose jobs to look at for who asks for those of `owner`, or of all that they see; None:
        those of everybody. The feed tells of them. Raises ForbiddenError for those of others."""
        if owner is not None and self.asker.sees not in (None, owner):
            raise ForbiddenError("This needs an API key with the scope admin.")
        return owner or self.asker.sees

    async def ended(self, watch: OwnerWatch, job_id: str) -> Job:
        """A job of a watch that has ended. Raises JobNotFoundError, ExpiredError."""
        return (await watch.look(job_id)).job(self.asker.sees)

    async def preview(self, job_id: str) -> bytes | None:
        """The latest early picture of a job, as WebP. Raises JobNotFoundError, ExpiredError."""
        await self.fetch(job_id)
        return await self.client.carry_out(latest(job_id))

    async def find_image(self, image_id: str) -> StoredImage:
        """A finished picture of one of their jobs. Raises ImageNotFoundError."""
        sees = self.asker.sees
        if sees is not None and not await self.client.carry_out(owns_image(image_id, sees)):
            raise no_image(image_id)
        return await to_thread.run_sync(self.store.find, image_id)

    async def require_input(self, input_id: str) -> None:
        """Raises InvalidImageError for an input picture that none of their jobs had: who knows its
        hash need not have it."""
        sees = self.asker.sees
        if sees is None or not INPUT_ID.fullmatch(input_id):  # what is no id, the store refuses
            return
        if not await self.client.carry_out(has_sent(input_id, sees)):
            raise no_input(input_id)

    async def take_inputs(
        self, draft: Draft, known: Known | None = None, reading: Reading = AS_SENT
    ) -> Taken:
        """The draft with its pictures in the store: see `InputImages.take`."""
        return await self.inputs.take(draft, self, known, reading)

    async def control_map(self, text: str, background: str, control: ControlMap) -> bytes:
        """A PNG of what a ControlNet would see of a picture, which is sent or theirs. Raises
        InvalidRequestError, DecodersBusyError."""
        return await self.inputs.control_map(text, background, control, self)

    async def give_up(self, *taken: Taken) -> None:
        """Delete the new pictures of drafts that become no jobs."""
        written = dict.fromkeys(picture for each in taken for picture in each.written)
        with suppress(StoreUnavailableError):
            await self.inputs.give_up(tuple(written))

    async def _with_eta(self, job: Job) -> Job:
        """The job and, if it waits, when it is likely to be done."""
        if job.queue is None:
            return job
        place = await self._estimated(job.queue, job.created_at.timestamp())
        return job.model_copy(update={"queue": place})

    async def _estimated(self, place: QueuePlace, since: float) -> QueuePlace:
        """With an estimate, or the reason why there is none."""
        if place.reason:
            return place
        try:
            outlook = await self.outlook.value()
        except QueueUnavailableError:  # what is known of the job is worth more
            return place
        eta_s = outlook.eta_s(place, since)
        return place.model_copy(
            update={"eta_s": eta_s, "reason": NO_WORKER if eta_s is None else None}
        )

    @asynccontextmanager
    async def accepting(self, *taken: Taken) -> AsyncIterator[None]:
        """Deletes the new pictures of drafts again if they are refused in here."""
        try:
            yield
        except DependencyError:  # perhaps the job was accepted all the same
            raise
        except DarkroomError:
            await self.give_up(*taken)
            raise
