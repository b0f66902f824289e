"""A job as its client would like it: as JSON, or as its picture; in the service only.

Who takes nothing but pictures never gets anything else with a status of success: it would be saved
under the picture's name.
"""

from dataclasses import replace

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from darkroom.errors import ImageNotFoundError, StoreUnavailableError
from darkroom.images import ImageStore
from darkroom.job import Job, JobError, JobStatus
from service import preferences
from service.access import Jobs
from service.conditions import changed, precondition
from service.errors import Fault, answer, fault_of
from service.problems import TOLD
from service.responses import ImageFile, job_response, last_modified

VARY = "Accept, Prefer"
"""The headers of a request that decide what the answer is."""

_KEPT_BY_304 = {
    "cache-control",
    "content-location",
    "content-security-policy",
    "etag",
    "preference-applied",
    "retry-after",
    "vary",
}
"""Headers that a 304 repeats (RFC 9110, 15.4.5)."""


def picture_format(job: Job) -> str:
    """The format of its pictures, whether or not there are any."""
    return str(job.request.get("output", {}).get("format", "png"))


def check_format(http: Request, image_format: str) -> None:
    """Raises HTTPException 406 where pictures of that format cannot be used, nor JSON."""
    if preferences.answer(http.headers, image_format) is None:
        detail = f"The picture is {image_format}: accept that, or ask for another `output.format`."
        raise HTTPException(406, detail)


async def as_wished(
    http: Request, store: ImageStore, jobs: Jobs, job: Job, *, pending: int, **headers: str
) -> Response:
    """The job, with status `pending` until it has ended, or its picture: the first one that was
    not withheld. A problem document where only a picture is welcome and there is none.

    Raises HTTPException 412."""
    headers["Vary"] = VARY
    if not wants_picture(http, job):
        return unless_known(
            http, job_response(job, 200 if job.status.terminal else pending, **headers)
        )
    if not job.status.terminal and preferences.takes_job(http.headers):
        return unless_known(http, job_response(job, pending, **headers))
    if job.status is not JobStatus.SUCCEEDED or not job.kept:
        return answer(http, about(job, no_picture(job), headers))
    try:
        return await _picture(http, store, jobs, job, headers)
    except (ImageNotFoundError, StoreUnavailableError) as error:
        return answer(http, about(job, fault_of(error), headers))


def wants_picture(http: Request, job: Job) -> bool:
    """Whether a picture of the job is more welcome than its JSON."""
    return preferences.answer(http.headers, picture_format(job)) == "picture"


def unless_known(http: Request, response: Response, modified: float | None = None) -> Response:
    """The response, or 304 to a client that says it has just that. `modified`: Unix time.

    Raises HTTPException 412."""
    if http.method != "GET":
        return response
    match precondition(http.headers, response.headers["ETag"], modified):
        case 304:
            kept = {k: v for k, v in response.headers.items() if k in _KEPT_BY_304}
            return Response(status_code=304, headers=kept)
        case 412:
            raise changed()
    return response


def about(job: Job, fault: Fault, headers: dict[str, str]) -> Fault:
    """A fault that names the job, so that it is not lost."""
    location = {"Location": job.urls.self_}
    urls = job.urls.model_dump(by_alias=True)
    return replace(
        fault,
        headers=location | headers | dict(fault.headers),
        more={"job": job.id, "urls": urls, **fault.more},
    )


async def _picture(
    http: Request, store: ImageStore, jobs: Jobs, job: Job, headers: dict[str, str]
) -> Response:
    image = await jobs.find_image(job.kept[0].id)
    headers |= {
        "Content-Location": job.kept[0].url or "",
        "Link": ", ".join(f'<{each.url}>; rel="item"' for each in job.kept),
        "Cache-Control": "private, no-cache",
    }
    return unless_known(http, ImageFile(store, image, **headers), last_modified(image))


def no_picture(job: Job) -> Fault:
    """Why there is no picture, to a client that wants nothing else."""
    if not job.status.terminal:
        detail = (
            f"The job is {job.status}, its picture is not finished. The job goes on: ask for "
            f"{job.urls.self_}?wait={preferences.LONGEST_WAIT_S} with the same Accept."
        )
        return Fault(406, "picture_not_ready", detail)
    withheld = JobError(code="safety_blocked", message="All pictures of the job were withheld.")
    error = job.error or withheld
    if job.status is JobStatus.CANCELED and not job.error:
        error = JobError(code="canceled", message="The job was canceled before it was done.")
    told = TOLD.get(error.code, TOLD["internal"])
    # 503 asks to come again.
    status = 502 if told.status == 503 and not error.retryable else told.status
    return Fault(status, error.code, error.message, more={"retryable": error.retryable})
