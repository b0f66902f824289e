"""From the body of a batch to queued jobs, all of them or none; in the service only."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyio import CancelScope
from anyio.lowlevel import checkpoint
from fastapi import Request

from darkroom.batch import MOST_JOBS, Grid
from darkroom.errors import (
    MOST_ERRORS,
    DarkroomError,
    FieldError,
    InvalidRequestError,
)
from darkroom.input_images import PICTURE_FIELDS, input_images
from darkroom.queue.accepting import NewJob
from darkroom.queue.batches import SubmittedBatch
from service.access import Jobs
from service.batch_access import Batches
from service.batch_bodies import BatchBody, read_batch
from service.departure import unless_gone
from service.dependencies import Darkroom
from service.pictures.intake import Known, Taken
from service.submission import Checked, Wanted, check, doubts, mark_of

_HOLD_PICTURES = PICTURE_FIELDS | {"controls"}


@dataclass(frozen=True)
class CheckedBatch:
    """Bodies that are right for their models, whose pictures nobody has looked at yet."""

    body: BatchBody
    jobs: Sequence[Checked]

    def kept(self, taken: Sequence[Taken]) -> list[dict[str, Any]]:
        """What the jobs keep of their requests. Raises InvalidRequestError."""
        found = []
        for index, (each, its) in enumerate(zip(self.jobs, taken, strict=True)):
            with self.body.told_of(index):
                found.append(each.kept(its))
        return found

    def grid(self, kept: Sequence[Mapping[str, Any]]) -> Grid | None:
        """The grid with pictures as the jobs name them."""
        if self.body.grid is None:
            return None
        told = {name: list(values) for name, values in self.body.grid.items()}
        for request, at in zip(kept, self.body.places, strict=True):
            for name in told.keys() & _HOLD_PICTURES:
                told[name][at[name]] = request.get(name)
        return told


async def check_batch(here: Darkroom, jobs: Jobs, wanted: Wanted) -> CheckedBatch:
    """Check all of a body but its pictures.

    Raises InvalidRequestError that points at what is wrong with any job, QueueUnavailableError."""
    body = read_batch(wanted.body, most_jobs(here, jobs))
    records = await here.records()
    checked: list[Checked] = []
    faults: list[FieldError] = []
    for index, each in enumerate(body.bodies):
        try:
            with body.told_of(index):
                checked.append(await check(here, jobs.asker, each, wanted.size, records))
        except InvalidRequestError as error:
            faults += error.errors
        if len(faults) > MOST_ERRORS:
            break
        await checkpoint()  # others go on
    if faults:
        raise InvalidRequestError(list(dict.fromkeys(faults)))
    return CheckedBatch(body, checked)


def most_jobs(here: Darkroom, jobs: Jobs) -> int:
    """What a batch can have and ever be accepted."""
    limits = jobs.asker.limits
    others = (limits.max_active, limits.max_queued, limits.per_minute)
    return min(MOST_JOBS, here.settings.max_queued, *(each for each in others if each is not None))


async def submit_batch(
    here: Darkroom, batches: Batches, http: Request, wanted: Wanted
) -> SubmittedBatch:
    """Check a body, take in its pictures, each once, and queue the jobs. Who leaves is given up.

    Raises what `check_batch` does, what `submission.submit` does, RateLimitedError."""
    jobs = batches.jobs
    checked = await check_batch(here, jobs, wanted)
    terms = {"key": wanted.idempotency_key, "fingerprint": await mark_of(wanted)}
    if any(input_images(each.draft.values) for each in checked.jobs):
        earlier = await batches.ask(len(checked.jobs), **terms)
        if earlier:
            return earlier
    taken = await unless_gone(http, take_all(jobs, checked))
    async with jobs.accepting(*taken):
        kept = checked.kept(taken)
        doubted = {model: await doubts(here, model) for model in {e.model for e in checked.jobs}}
        new = [
            NewJob(
                request=request,
                model=each.model,
                warnings=[*its.draft.warnings, *doubted[each.model]],
                work_s=each.work_s(request),
                **each.draft.options.model_dump(),
            )
            for each, its, request in zip(checked.jobs, taken, kept, strict=True)
        ]
        return await batches.submit(new, checked.grid(kept), **terms)


async def take_all(jobs: Jobs, checked: CheckedBatch) -> list[Taken]:
    """The drafts with their pictures in the store, or nothing left behind; a picture that several
    of them bring is taken once.

    Raises InvalidRequestError that points at the picture, DecodersBusyError."""
    known: Known = {}
    taken: list[Taken] = []
    try:
        for index, each in enumerate(checked.jobs):
            with checked.body.told_of(index):
                taken.append(await jobs.take_inputs(each.draft, known))
    except (DarkroomError, asyncio.CancelledError):
        with CancelScope(shield=True):
            await jobs.give_up(*taken)
        raise
    return taken
