"""Jobs: submit, read, wait for, list, cancel, delete, follow."""

from contextlib import nullcontext, suppress
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse

from darkroom.errors import BusyError, ModelNotFoundError, TooManyAtOnceError
from darkroom.job import Job, JobStatus
from darkroom.request import Output
from service import preferences
from service.access import Jobs
from service.bodies import read_body, require_json
from service.conditions import listed, matches, require_match
from service.dependencies import (
    Darkroom,
    Here,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    JobId,
    LastEventId,
    Place,
    Prefer,
    TheirJobs,
    Wait,
)
from service.documentation import JOB_BODY, JOB_EVENTS, JOB_OR_PICTURE, PICTURE_OR_JOB
from service.negotiation import as_wished, check_format, picture_format, wants_picture
from service.parameters import WHOLE_NUMBER
from service.problems import NO_PICTURE, problems
from service.responses import JobPage, job_etag, job_response
from service.streaming import event_stream, wait_for, wait_for_end
from service.submission import submit

router = APIRouter(tags=["jobs"])

_GONE = ("job_not_found", "expired", "queue_unavailable")
_NO_PLACE = ("too_many_at_once", "busy")
JOB_CHANGE_REFUSALS = problems(*_GONE, "precondition_failed")
ENDED_ALREADY: dict[int | str, dict[str, Any]] = {
    200: {"model": Job, "description": "It had ended already."}
}


@router.post(
    "/jobs",
    status_code=202,
    response_model=Job,
    responses=PICTURE_OR_JOB
    | problems(
        *NO_PICTURE,
        "malformed_request",
        "model_not_found",
        "payload_too_large",
        "unsupported_media_type",
        "invalid_parameters",
        "idempotency_mismatch",
        "queue_full",
        "busy",
        "decoders_busy",
        "queue_unavailable",
    ),
    openapi_extra=JOB_BODY,
)
async def create_job(
    http: Request,
    here: Here,
    jobs: TheirJobs,
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
    """
    require_json(http)
    body, size = await read_body(http, int(here.settings.max_json_kb * 2**10))

    def agree(output: Output) -> None:
        check_format(http, output.format)

    submitted = await submit(here, jobs, http, body, idempotency_key, agree, size=size)
    job, headers = submitted.job, _preference_applied(http)
    if wait_s := _wait_s(http, job):
        with suppress(BusyError, TooManyAtOnceError), here.place(http):
            job = await wait_for_end(jobs, job, wait_s)
    headers["Location"] = job.urls.self_
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    return await as_wished(http, here.store, jobs, job, pending=202, **headers)


@router.get(
    "/jobs",
    response_model=JobPage,
    responses=problems("invalid_parameters", "model_not_found", "queue_unavailable"),
)
async def list_jobs(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    status: Annotated[
        JobStatus | None, Query(description="Only jobs in this status.", examples=["succeeded"])
    ] = None,
    model: Annotated[
        str | None,
        Query(min_length=1, max_length=200, description="Name or alias.", examples=["emoji"]),
    ] = None,
    tag: Annotated[
        str | None,
        Query(min_length=1, max_length=64, description="Only jobs so tagged.", examples=["poster"]),
    ] = None,
    limit: Annotated[
        int, WHOLE_NUMBER, Query(ge=1, le=100, description="Jobs per page.", examples=[20])
    ] = 20,
    cursor: Annotated[
        str | None,
        Query(
            pattern=r"^[1-9][0-9]{0,14}$",
            description="`next_cursor` of the page before.",
            examples=["1763724543000"],
        ),
    ] = None,
) -> Response:
    """Jobs, newest first. `Link` with `rel="next"` leads to the next page."""
    page = await jobs.page(
        status=status, model=_name(here, model), tag=tag, limit=limit, cursor=cursor
    )
    if model and not (cursor or page.jobs or page.next_cursor):
        await _require_model(here, jobs, model)
    body = JobPage(
        data=page.jobs, next_cursor=page.next_cursor, has_more=page.next_cursor is not None
    )
    headers = {"Cache-Control": "private, no-store"}
    if page.next_cursor:
        asked = {k: v for k, v in http.query_params.items() if k != "cursor"}
        query = urlencode(asked | {"cursor": page.next_cursor})
        headers["Link"] = f'<{http.scope["path"]}?{query}>; rel="next"'
    return Response(body.model_dump_json(by_alias=True), 200, headers, "application/json")


@router.get(
    "/jobs/{job_id}",
    response_model=Job,
    responses=JOB_OR_PICTURE
    | problems(
        *NO_PICTURE,
        *_GONE,
        *_NO_PLACE,
        "image_not_found",
        "precondition_failed",
        "invalid_parameters",
    ),
)
async def read_job(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    job_id: JobId,
    wait: Wait = None,
    prefer: Prefer = None,  # noqa: ARG001
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
) -> Response:
    """A job. `ETag` names this state of it.

    With `wait`, the answer is held back until the job is done or, where `If-None-Match` says
    which state you have, until it is another one: progress costs one request per change. `Prefer:
    wait=30` is another way to say `wait=30`, and more than 60 s is taken as 60. `Accept:
    image/png` asks for the job's picture, as at its submission.
    """

    known = listed(http.headers, "if-none-match")

    def is_another(job: Job) -> bool:
        return not wants_picture(http, job) and not matches(known, job_etag(job))

    wait_s = preferences.wait_s(http.headers) if wait is None else preferences.clamped(wait)
    with here.place(http) if wait_s else nullcontext():
        job = await wait_for(jobs, job_id, wait_s or 0, is_another if known else None)
    check_format(http, picture_format(job))
    headers = _preference_applied(http) if wait is None else {}
    return await as_wished(http, here.store, jobs, job, pending=200, **headers)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    response_model=Job,
    responses=ENDED_ALREADY | JOB_CHANGE_REFUSALS,
)
async def cancel_job(
    http: Request,
    jobs: TheirJobs,
    job_id: JobId,
    if_match: IfMatch = None,  # noqa: ARG001
) -> Response:
    """Cancel a job. A queued one never starts, a running one stops at its next step.

    Asking again, or for a job that has ended, changes nothing.
    """
    job = await jobs.fetch(job_id)
    require_match(http.headers, job_etag(job))
    return job_response(await jobs.cancel(job_id), 200 if job.status.terminal else 202)


@router.delete("/jobs/{job_id}", status_code=204, responses=JOB_CHANGE_REFUSALS)
async def delete_job(
    http: Request,
    jobs: TheirJobs,
    job_id: JobId,
    if_match: IfMatch = None,
) -> Response:
    """Delete a job and its pictures; one that has not ended is canceled first."""
    if if_match:
        require_match(http.headers, job_etag(await jobs.fetch(job_id)))
    await jobs.delete(job_id)
    return Response(status_code=204)


@router.get(
    "/jobs/{job_id}/events",
    responses=JOB_EVENTS | problems(*_GONE, *_NO_PLACE, "invalid_parameters"),
    dependencies=[Place],
)
async def follow_job(
    jobs: TheirJobs,
    job_id: JobId,
    last_event_id: LastEventId = None,
    after: Annotated[
        str | None,
        Query(
            pattern=preferences.EVENT_ID,
            description="Stands in for `Last-Event-ID`.",
            examples=["1763724543000-0"],
        ),
    ] = None,
) -> Response:
    """What happens to a job, as server-sent events: `status`, `progress`, `image`, `done`.

    A client that comes back with `Last-Event-ID` gets what it missed. The stream ends after
    `done`; asking for more then gives 204, which tells a browser not to come back. A stream that
    must end before its job says so with `error` and `retry`.
    """
    job = await jobs.fetch(job_id)
    after = last_event_id or after
    if job.status.terminal and not await jobs.history(job, after):
        return Response(status_code=204)
    headers = {"Cache-Control": "private, no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(event_stream(jobs, job, after), headers=headers)


def _wait_s(http: Request, job: Job) -> float:
    """How long to wait for a job that was just accepted: as long as the client says, for a picture
    without a word as long as may be."""
    wait_s = preferences.wait_s(http.headers)
    if wait_s is not None or preferences.wants_no_wait(http.headers):
        return wait_s or 0
    return preferences.LONGEST_WAIT_S if wants_picture(http, job) else 0


def _preference_applied(http: Request) -> dict[str, str]:
    """Tells which wait counts, where one was asked for (RFC 7240, section 3)."""
    wait_s = preferences.wait_s(http.headers)
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}


def _name(here: Darkroom, model: str | None) -> str | None:
    """A model's own name for an alias; jobs of models no longer on offer can still be listed."""
    try:
        return model and here.catalog.find(model).name
    except ModelNotFoundError:
        return model


async def _require_model(here: Darkroom, jobs: Jobs, name: str) -> None:
    """Raises ModelNotFoundError for a name that no model has and no job: one that was mistyped."""
    try:
        here.catalog.find(name)
    except ModelNotFoundError:
        theirs = await jobs.page(status=None, model=name, tag=None, limit=1, cursor=None)
        if not (theirs.jobs or theirs.next_cursor):
            raise
