"""What would come of a body, of which nothing is kept; in the service only."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from anyio import CancelScope
from fastapi import Request

from service.access import Jobs
from service.batch_access import Batches
from service.batch_submission import check_batch, take_all
from service.departure import unless_gone
from service.dependencies import Darkroom
from service.pictures.intake import Taken
from service.responses import BatchDryRun, DryRun
from service.submission import Agree, Checked, Wanted, check, doubts, mark_of


async def foresee(
    here: Darkroom, jobs: Jobs, http: Request, wanted: Wanted, agree: Agree
) -> DryRun:
    """Do all that `submit` does but to queue the job. Pictures are read and deleted again.

    Raises what `submit` raises."""
    checked = await check(here, jobs.asker, wanted.body, wanted.size)
    agree(checked.output)
    mark = await mark_of(wanted)
    earlier = await jobs.ask(jobs.terms(wanted.idempotency_key, mark))
    taken = await unless_gone(http, jobs.take_inputs(checked.draft))
    try:
        kept = checked.kept(taken)
    finally:
        with CancelScope(shield=True):
            await jobs.give_up(taken)
    told = await _told(here, jobs, checked, taken, kept)
    if earlier is None:
        await jobs.ask(jobs.terms(None, None), told.work_s)
    return told.model_copy(update={"replays": earlier.job.id if earlier else None})


async def foresee_batch(
    here: Darkroom, batches: Batches, http: Request, wanted: Wanted
) -> BatchDryRun:
    """The same of a batch. Raises what `submit_batch` raises."""
    jobs = batches.jobs
    checked = await check_batch(here, jobs, wanted)
    key, mark = wanted.idempotency_key, await mark_of(wanted)
    earlier = await batches.ask(len(checked.jobs), key=key, fingerprint=mark)
    taken = await unless_gone(http, take_all(jobs, checked))
    try:
        kept = checked.kept(taken)
    finally:
        with CancelScope(shield=True):
            await jobs.give_up(*taken)
    told: list[DryRun] = []
    before: Counter[str] = Counter()
    for each, its, request in zip(checked.jobs, taken, kept, strict=True):
        one = await _told(here, jobs, each, its, request, before[each.queue])
        before[one.queue] += 1
        told.append(one)
    work_s = sum(each.work_s for each in told)
    if earlier is None:
        await batches.ask(len(told), work_s, key=None, fingerprint=None)
    return BatchDryRun(
        jobs=told,
        work_s=round(work_s, 3),
        replays=earlier.batch.id if earlier else None,
    )


async def _told(
    here: Darkroom,
    jobs: Jobs,
    checked: Checked,
    taken: Taken,
    kept: Mapping[str, Any],
    before: int = 0,
) -> DryRun:
    """What would come of a job, `before` which so many others go into its queue."""
    work_s = checked.work_s(kept)
    place = await jobs.next_place(checked.queue, work_s, before)
    serving = [each for each in await here.workers() if checked.model in each.serves]
    return DryRun(
        request=dict(kept),
        warnings=[*taken.draft.warnings, *await doubts(here, checked.model)],
        work_s=round(work_s, 3),
        work_source="measured" if checked.is_measured(kept) else "stated",
        queue=place.name,
        position=place.position,
        eta_s=place.eta_s,
        reason=place.reason,
        workers=sorted(each.name for each in serving),
        loaded=any(checked.model in each.models for each in serving),
        replays=None,
    )
