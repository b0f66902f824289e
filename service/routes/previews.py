"""Early pictures of running jobs, for those who ask now and then."""

from fastapi import APIRouter, Request, Response

from service.conditions import listed, matches
from service.dependencies import IfNoneMatch, JobId, TheirJobs
from service.documentation import EARLY_PICTURE
from service.problems import problems
from service.responses import etag

router = APIRouter(tags=["jobs"])


@router.get(
    "/jobs/{job_id}/preview",
    response_class=Response,
    responses=EARLY_PICTURE | problems("job_not_found", "expired", "queue_unavailable"),
)
async def read_preview(
    http: Request,
    jobs: TheirJobs,
    job_id: JobId,
    if_none_match: IfNoneMatch = None,  # noqa: ARG001
) -> Response:
    """The latest early picture of a running job, as WebP of at most 256 pixels to a side.

    204 while there is none: before the first, of a job that shows none, and once it has ended. The
    event `preview` tells of each.
    """
    picture = await jobs.preview(job_id)
    headers = {"Cache-Control": "private, no-cache"}
    if picture is None:
        return Response(status_code=204, headers=headers)
    headers["ETag"] = etag(picture)
    if matches(listed(http.headers, "if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(picture, 200, headers, "image/webp")
