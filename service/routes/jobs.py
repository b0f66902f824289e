"""Jobs: submit, read, wait for, list, cancel, delete, follow."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse
from starlette.exceptions import HTTPException

from darkroom.errors import ModelNotFoundError
from darkroom.job import Job, JobStatus
from darkroom.request import Output
from service import preferences
from service.bodies import read_body
from service.dependencies import Darkroom, Here, IfNoneMatch, JobId, TheirJobs
from service.documentation import JOB_BODY, JOB_EVENTS, PICTURE_OR_JOB
from service.errors import answer, failed_job
from service.responses import (
    ImageFile,
    JobPage,
    etag,
    job_body,
    job_response,
    matches,
    problems,
)
from service.streaming import event_stream, wait_for, wait_for_end
from service.submission import submit

router = APIRouter(tags=["jobs"])

MAX_WAIT_S = 60

JOB_REFUSALS = problems(404, 410, 503)
UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Unchanged."}}
ENDED_ALREADY: dict[int | str, dict[str, Any]] = {
    200: {"model": Job, "description": "It had ended already."}
}


@router.post(
    "/jobs",
    status_code=202,
    response_model=Job,
    responses=PICTURE_OR_JOB | problems(400, 404, 406, 413, 415, 422, 429, 503),
    openapi_extra=JOB_BODY,
)
async def create_job(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
    ] = None,
    prefer: Annotated[str | None, Header(examples=["wait=30"])] = None,
    accept: Annotated[str | None, Header(examples=["image/png"])] = None,
) -> Response:
    """Ask for pictures. The answer is a job, at once: poll it at `Location`.

    `Prefer: wait=30` waits up to so many seconds (60 at most): 200 if the job is done by then, 202
    if not. With `Accept: image/png` too (or `image/jpeg`, `image/webp`, `image/*`; 406 if it is not
    the format of `output`), a job done in time answers with its first picture, and one that failed
    with a problem document. A request sent again with the same `Idempotency-Key` within 24 hours
    returns the same job; with another body it is refused.
    """
    _require_json(http)
    body, size = await read_body(http, int(here.settings.max_json_kb * 2**10))
    wait_s = preferences.wait_s(prefer, MAX_WAIT_S)

    def agree(output: Output) -> None:
        if wait_s is not None and preferences.answer(accept, output.format) is None:
            detail = f"The picture will be {output.format}; ask for it in `output.format`."
            raise HTTPException(406, detail)

    submitted = await submit(here, jobs, body, idempotency_key, agree, size=size)
    job = submitted.job if wait_s is None else await wait_for_end(jobs, submitted.job, wait_s)
    headers = {"Location": job.urls.self_}
    if submitted.replayed:
        headers["Idempotency-Replayed"] = "true"
    if not job.status.terminal:
        return job_response(job, 202, **headers)
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    if preferences.answer(accept, _format(job)) != "picture":
        return job_response(job, 200, **headers)
    if job.status is not JobStatus.SUCCEEDED or not job.kept:
        return answer(http, failed_job(job))
    first = job.kept[0]
    headers["Content-Location"] = first.url or ""
    return ImageFile(here.store, await jobs.find_image(first.id), **headers)


@router.get("/jobs", response_model=JobPage, responses=problems(422, 503))
async def list_jobs(
    http: Request,
    here: Here,
    jobs: TheirJobs,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this status.")] = None,
    model: Annotated[str | None, Query(max_length=200, description="Name or alias.")] = None,
    tag: Annotated[str | None, Query(max_length=64, description="Only jobs so tagged.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Jobs per page.")] = 20,
    cursor: Annotated[
        str | None,
        Query(pattern=r"^[1-9][0-9]{0,14}$", description="`next_cursor` of the page before."),
    ] = None,
) -> Response:
    """Jobs, newest first. `Link` with `rel="next"` leads to the next page."""
    page = await jobs.page(
        status=status, model=_name(here, model), tag=tag, limit=limit, cursor=cursor
    )
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
    responses=UNCHANGED | JOB_REFUSALS,
)
async def read_job(
    jobs: TheirJobs,
    job_id: JobId,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, allow_inf_nan=False, description="Seconds to wait.")
    ] = 0,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A job. `ETag` names this state of it.

    With `wait`, the answer is held back until the job is done or, where `If-None-Match` says
    which state you have, until it is another one: progress costs one request per change.
    """

    def is_another(job: Job) -> bool:
        return not matches(if_none_match, etag(job_body(job)))

    job = await wait_for(jobs, job_id, wait, is_another if if_none_match else None)
    response = job_response(job)
    if matches(if_none_match, response.headers["ETag"]):
        response = Response(status_code=304, headers=_headers_of_unchanged(response))
    return response


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    response_model=Job,
    responses=ENDED_ALREADY | JOB_REFUSALS,
)
async def cancel_job(jobs: TheirJobs, job_id: JobId) -> Response:
    """Cancel a job. A queued one never starts, a running one stops at its next step.

    Asking again, or for a job that has ended, changes nothing.
    """
    ended_before = (await jobs.fetch(job_id)).status.terminal
    return job_response(await jobs.cancel(job_id), 200 if ended_before else 202)


@router.delete("/jobs/{job_id}", status_code=204, responses=JOB_REFUSALS)
async def delete_job(jobs: TheirJobs, job_id: JobId) -> Response:
    """Delete a job and its pictures; one that has not ended is canceled first."""
    await jobs.delete(job_id)
    return Response(status_code=204)


@router.get("/jobs/{job_id}/events", responses=JOB_EVENTS | JOB_REFUSALS)
async def follow_job(
    jobs: TheirJobs,
    job_id: JobId,
    last_event_id: Annotated[str | None, Header(pattern=preferences.EVENT_ID)] = None,
    after: Annotated[
        str | None,
        Query(pattern=preferences.EVENT_ID, description="Stands in for `Last-Event-ID`."),
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


def _format(job: Job) -> str:
    """The format of its pictures, whether or not there are any."""
    return str(job.request.get("output", {}).get("format", "png"))


def _require_json(http: Request) -> None:
    """Refuse what a form or another site's page can send unasked (CSRF), and what is no JSON."""
    declared = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = declared == "application/json" or (
        declared.startswith("application/") and declared.endswith("+json")
    )
    from_a_program = not declared and "origin" not in http.headers
    if not is_json and not from_a_program:
        raise HTTPException(415, "Send JSON with the header 'Content-Type: application/json'.")


def _name(here: Darkroom, model: str | None) -> str | None:
    """A model's own name for an alias; jobs of models no longer on offer can still be listed."""
    try:
        return model and here.catalog.find(model).name
    except ModelNotFoundError:
        return model


def _headers_of_unchanged(response: Response) -> dict[str, str]:
    """Headers that a 304 repeats."""
    names = ("ETag", "Cache-Control", "Retry-After")
    return {name: response.headers[name] for name in names if name in response.headers}
