"""Ways to ask for pictures: a job from a body, and one like another, with changes."""

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from darkroom.errors import BusyError, TooManyAtOnceError
from darkroom.job import Job
from darkroom.request import Output
from service import preferences
from service.access import Jobs
from service.bodies import read_body, require_json
from service.dependencies import (
    Darkroom,
    Here,
    IdempotencyKey,
    IsDryRun,
    JobId,
    Prefer,
    TheirJobs,
)
from service.documentation import JOB_BODY, PICTURE_OR_JOB, RETRY_BODY
from service.dry_run import foresee
from service.negotiation import VARY, as_wished, check_format, wants_picture
from service.problems import NO_PICTURE, problems
from service.streaming import wait_for_end
from service.submission import Wanted, submit

router = APIRouter(tags=["jobs"])

REFUSALS = (
    "malformed_request",
    "model_not_found",
    "payload_too_large",
    "unsupported_media_type",
    "invalid_parameters",
    "idempotency_mismatch",
    "queue_full",
    "too_many_active_jobs",
    "too_many_queued_jobs",
    "rate_limited",
    "busy",
    "decoders_busy",
    "queue_unavailable",
)
"""Why a request becomes no job."""

_INHERITED = ("priority", "tags", "metadata", "ttl_s")
"""Of what a job is beside its request; how long it may wait is not said of its retries."""


@router.post(
    "/jobs",
    status_code=202,
    response_model=Job,
    responses=PICTURE_OR_JOB | problems(*NO_PICTURE, *REFUSALS),
    openapi_extra=JOB_BODY,
)
async def create_job(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    dry_run: IsDryRun = False,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,  # noqa: ARG001  # for OpenAPI; a client may send several
) -> Response:
    """Ask for pictures. The answer is a job, at once: poll it at `Location`.

    `Prefer: wait=30` waits up to so many seconds (60 at most): 200 if the job is done by then, 202
    if not. With `Accept: image/png` (or `image/jpeg`, `image/webp`, `image/*`; 406 if it is not the
    format of `output`) the answer is the job's first picture, without `Prefer` after at most 60
    seconds. Where there is no picture then, the answer is a problem document that names the job,
    `picture_not_ready` (406) while it goes on. A request sent again with the same
    `Idempotency-Key` within 24 hours returns the same job; with another body it is refused.

    With `dry_run=true` nothing is stored: the answer tells the request that the job would have,
    what it would cost and when it would be done, or is the refusal that it would get.
    """
    require_json(http)
    body, size = await _read(http, here)
    wanted = Wanted(body, size, idempotency_key)
    if dry_run:
        return await _foreseen(http, here, jobs, wanted)
    return await _submitted(http, here, jobs, wanted)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    response_model=Job,
    responses=PICTURE_OR_JOB | problems("job_not_found", "expired", *NO_PICTURE, *REFUSALS),
    openapi_extra=RETRY_BODY,
)
async def retry_job(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    job_id: JobId,
    dry_run: IsDryRun = False,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,  # noqa: ARG001
) -> Response:
    """Ask for the pictures of a job again, in whatever status it is: a new job, whose `parent_id`
    names the one it came from.

    Its request is the old one's, input pictures and seed too, so that it makes the same pictures.
    Fields in the body take the place of those; one that is null is chosen anew, as if it was left
    out: `{"seed": null}` makes other pictures. Priority, tags, metadata and ttl_s are taken over as
    well. Headers and answers are those of `POST /api/v1/jobs`.
    """
    old = await jobs.fetch(job_id)
    changes: dict[str, Any] = {}
    size = 0
    if await http.body():
        require_json(http)
        changes, size = await _read(http, here)
    body = {name: getattr(old, name) for name in _INHERITED} | old.request | changes
    said = {"retry": old.id, "with": changes}
    wanted = Wanted(body, size, idempotency_key, said=said, parent_id=old.id)
    if dry_run:
        return await _foreseen(http, here, jobs, wanted)
    return await _submitted(http, here, jobs, wanted)


async def _read(http: Request, here: Darkroom) -> tuple[dict[str, Any], int]:
    return await read_body(http, int(here.settings.max_json_kb * 2**10))


async def _foreseen(http: Request, here: Darkroom, jobs: Jobs, wanted: Wanted) -> Response:
    """What would come of a body. Who takes nothing but pictures gets none for it."""

    def agree(output: Output) -> None:
        check_format(http, output.format)
        wants = preferences.answer(http.headers, output.format)
        if wants == "picture" and not preferences.takes_job(http.headers):
            raise HTTPException(406, "A dry run makes no picture: accept application/json.")

    told = await foresee(here, jobs, http, wanted, agree)
    headers = {"Cache-Control": "private, no-store", "Vary": VARY}
    return Response(told.model_dump_json(), 200, headers, "application/json")


async def _submitted(http: Request, here: Darkroom, jobs: Jobs, wanted: Wanted) -> Response:
    """The job that comes of a body, as its client would like it."""

    def agree(output: Output) -> None:
        check_format(http, output.format)

    submitted = await submit(here, jobs, http, wanted, agree)
    job, headers = submitted.job, preferences.applied(http.headers)
    if wait_s := _wait_s(http, job):
        with suppress(BusyError, TooManyAtOnceError), here.place(http):
            job = await wait_for_end(jobs, job, wait_s)
    headers["Location"] = job.urls.self_
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    return await as_wished(http, here.store, jobs, job, pending=202, **headers)


def _wait_s(http: Request, job: Job) -> float:
    """How long to wait for a job that was just accepted: as long as the client says, for a picture
    without a word as long as may be."""
    wait_s = preferences.wait_s(http.headers)
    if wait_s is not None or preferences.wants_no_wait(http.headers):
        return wait_s or 0
    return preferences.LONGEST_WAIT_S if wants_picture(http, job) else 0
