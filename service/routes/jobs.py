"""Jobs: read, wait for, list, mark, cancel, delete, follow."""

from contextlib import nullcontext
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic import ValidationError
from starlette.convertors import CONVERTOR_TYPES, Convertor

from darkroom.errors import InvalidRequestError
from darkroom.field_errors import field_errors
from darkroom.job import Job, JobStatus
from darkroom.job_options import JobMarks
from service import preferences
from service.bodies import read_body, require_json
from service.conditions import changed, listed, matches, require_match
from service.dependencies import (
    After,
    Here,
    IfMatch,
    IfNoneMatch,
    JobId,
    LastEventId,
    Place,
    Prefer,
    TheirJobs,
    Wait,
)
from service.documentation import JOB_EVENTS, JOB_OR_PICTURE, MARKS_BODY
from service.filters import (
    ByBatch,
    ByModel,
    ByStar,
    ByTag,
    ByText,
    Cursor,
    Limit,
    own_name,
    page_response,
    require_model,
)
from service.negotiation import as_wished, check_format, picture_format, wants_picture
from service.problems import NO_PICTURE, problems
from service.responses import JobPage, job_etag, job_response
from service.streaming import STREAM_HEADERS, event_stream, wait_for


class _Named(Convertor[str]):
    """What may be the id of a job in a path: not the word that is a path of its own there, with
    methods of its own."""

    regex = "(?!batch$)[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


CONVERTOR_TYPES["job"] = _Named()
_JOB = "/jobs/{job_id:job}"

router = APIRouter(tags=["jobs"])

_GONE = ("job_not_found", "expired", "queue_unavailable")
_NO_PLACE = ("rate_limited", "too_many_at_once", "busy")
JOB_CHANGE_REFUSALS = problems(*_GONE, "precondition_failed")
ENDED_ALREADY: dict[int | str, dict[str, Any]] = {
    200: {"model": Job, "description": "It had ended already."}
}


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
    model: ByModel = None,
    tag: ByTag = None,
    batch: ByBatch = None,
    starred: ByStar = None,
    q: ByText = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Jobs, newest first. `Link` with `rel="next"` leads to the next page."""
    page = await jobs.page(
        status=status,
        model=own_name(here, model),
        tag=tag,
        batch=batch,
        starred=starred,
        text=q,
        limit=limit,
        cursor=cursor,
    )
    if model and not (cursor or page.jobs or page.next_cursor):
        await require_model(here, jobs, model)
    body = JobPage(
        data=page.jobs, next_cursor=page.next_cursor, has_more=page.next_cursor is not None
    )
    return page_response(http, body, page.next_cursor)


@router.get(
    _JOB,
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
    headers = preferences.applied(http.headers) if wait is None else {}
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


@router.patch(
    _JOB,
    response_model=Job,
    responses=JOB_CHANGE_REFUSALS
    | problems(
        "malformed_request", "payload_too_large", "unsupported_media_type", "invalid_parameters"
    ),
    openapi_extra=MARKS_BODY,
)
async def mark_job(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    job_id: JobId,
    if_match: IfMatch = None,
) -> Response:
    """Change the tags of a job, or star it, in whatever status it is. What the body leaves out
    stays as it is."""
    seen = await jobs.fetch(job_id)
    require_match(http.headers, job_etag(seen))
    require_json(http)
    body, _ = await read_body(http, int(here.settings.max_json_kb * 2**10))
    try:
        marks = JobMarks.model_validate(body)
    except ValidationError as error:
        raise InvalidRequestError(field_errors(error, JobMarks)) from None
    job = await jobs.mark(job_id, marks, None if if_match in (None, "*") else seen)
    if job is None:  # marked by others since it was fetched above
        raise changed()
    return job_response(job)


@router.delete(_JOB, status_code=204, responses=JOB_CHANGE_REFUSALS)
async def delete_job(
    http: Request,
    jobs: TheirJobs,
    job_id: JobId,
    if_match: IfMatch = None,
) -> Response:
    """Delete a job and its pictures; one that has not ended is canceled first."""
    if if_match is not None:
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
    after: After = None,
) -> Response:
    """What happens to a job, as server-sent events: `status`, `progress`, `preview`,
    `image`, `log`, `done`.

    A client that comes back with `Last-Event-ID` gets what it missed. The stream ends after
    `done`; asking for more then gives 204, which tells a browser not to come back. A stream that
    must end before its job says so with `error` and `retry`.
    """
    job = await jobs.fetch(job_id)
    after = last_event_id or after
    if job.status.terminal and not await jobs.history(job, after):
        return Response(status_code=204)
    return EventSourceResponse(event_stream(jobs, job, after), headers=STREAM_HEADERS)
