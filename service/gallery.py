"""The finished pictures of jobs, page by page, newest jobs first; in the service only."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from darkroom.job import ImageRecord, Job, JobStatus
from service.access import Jobs
from service.responses import Listing


class ListedImage(ImageRecord):
    """A picture, and what to know of the job that made it."""

    object: Literal["image"] = "image"
    """What this is."""
    job_id: str
    """The job."""
    model: str
    """Its model."""
    prompt: str | None
    """Its prompt; null where it has none."""
    tags: list[str]
    """The job's."""
    starred: bool
    """Whether the job is."""
    created_at: datetime
    """When the job ended."""
    expires_at: datetime | None
    """When it is deleted with its job."""


class ImagePage(Listing[ListedImage]):
    """Some pictures, those of the newest jobs first; `next_cursor` asks for the ones after them."""

    next_cursor: str | None
    """Asks for the page after this one; null on the last."""
    has_more: bool
    """Whether there is one."""


@dataclass
class _Pictures:
    """What is found until there are enough."""

    limit: int
    found: list[ListedImage] = field(default_factory=list)

    def take(self, job: Job, skip: int) -> int | None:
        """Take the pictures of a job from a number on; the number at which there were enough."""
        for number, image in enumerate(job.kept[skip:], skip):
            if len(self.found) == self.limit:
                return number
            self.found.append(_listed(job, image))
        return None


async def image_page(jobs: Jobs, *, limit: int, cursor: str | None, **filters: Any) -> ImagePage:
    """Pictures of jobs that match. Where a page ends within a job, its cursor is the job's ticket
    and the number of the picture to go on from."""
    before, first, skip = _read(cursor)
    pictures = _Pictures(limit)
    while True:
        page = await jobs.page(status=JobStatus.SUCCEEDED, limit=limit, cursor=before, **filters)
        for job, ticket in zip(page.jobs, page.tickets, strict=True):
            number = pictures.take(job, skip if ticket == first else 0)
            if number is not None:
                return _page(pictures.found, f"{ticket}.{number}")
        before = page.next_cursor
        if before is None or pictures.found:
            return _page(pictures.found, before)


def _read(cursor: str | None) -> tuple[str | None, int | None, int]:
    """From which job on, and how many pictures of which one were seen."""
    ticket, dot, number = (cursor or "").partition(".")
    if not dot:
        return cursor, None, 0
    return str(int(ticket) + 1), int(ticket), int(number)


def _page(found: list[ListedImage], cursor: str | None) -> ImagePage:
    return ImagePage(data=found, next_cursor=cursor, has_more=cursor is not None)


def _listed(job: Job, image: ImageRecord) -> ListedImage:
    return ListedImage(
        **dict(image),
        job_id=job.id,
        model=str(job.request.get("model", "")),
        prompt=job.request.get("prompt"),
        tags=job.tags,
        starred=job.starred,
        created_at=job.finished_at or job.created_at,
        expires_at=job.expires_at,
    )
