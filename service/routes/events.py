"""Events of all jobs as one stream."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.sse import EventSourceResponse

from service.dependencies import After, LastEventId, Place, TheirJobs
from service.documentation import ALL_EVENTS
from service.problems import problems
from service.streaming import STREAM_HEADERS, all_events

router = APIRouter(tags=["jobs"])


@router.get(
    "/events",
    responses=ALL_EVENTS
    | problems(
        "forbidden",
        "rate_limited",
        "too_many_at_once",
        "busy",
        "invalid_parameters",
        "queue_unavailable",
    ),
    dependencies=[Place],
)
async def follow_all(
    jobs: TheirJobs,
    last_event_id: LastEventId = None,
    after: After = None,
    owner: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=64,
            description="Only jobs of this owner, the id of an API key. Those of others take the "
            "scope `admin`.",
            examples=["0f343b0931126a20"],
        ),
    ] = None,
) -> Response:
    """What happens to all jobs that you see, from now on, as one stream of server-sent events.

    The events are those of each job, with its `job_id` besides. A client that comes back with
    `Last-Event-ID` gets what it missed; `missed` tells where that is not certain. `after=0-0`
    begins with all events that are still kept.
    """
    owner = jobs.whose(owner)
    place = await jobs.feed.place(owner, last_event_id or after)
    return EventSourceResponse(all_events(jobs, owner, place), headers=STREAM_HEADERS)
