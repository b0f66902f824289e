"""Early pictures of the job of a call, for answers that are streams; in the service, knows no
dialect."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from darkroom.errors import DecodersBusyError, QueueUnavailableError
from darkroom.events import Previewed
from darkroom.job import Job
from darkroom.queue.event_log import Event
from darkroom.queue.previews import latest
from darkroom.request import PictureFormat
from service.access import Jobs
from service.pictures.messages import CopyWish
from service.streaming import PING_EVERY_S


async def early_pictures(
    jobs: Jobs, job: Job, most: int, form: PictureFormat
) -> AsyncGenerator[bytes | None, None]:
    """Files of early pictures of a job that was fetched here, `most` of them over its steps or
    fewer, and None now and then so that a connection stays open. Ends when the service stops.

    Raises UnauthenticatedError."""
    shown, after = 0, None
    async with jobs.watch(job.id, until_end=not most) as watch:
        while not jobs.feed.closing:
            with suppress(QueueUnavailableError, DecodersBusyError):  # the next one may do
                events = await watch.history(after) if shown < most else []
                after = events[-1].id if events else after
                if _is_due(events, shown, most) and (picture := await _latest(jobs, job, form)):
                    shown += 1
                    yield picture
            if not await jobs.changed(watch, PING_EVERY_S):
                yield None


def _is_due(events: Sequence[Event], shown: int, most: int) -> bool:
    """Whether the newest early picture is far enough behind the `shown` ones that came before, of
    `most` in all."""
    told = [event.data for event in events if event.kind == "preview"]
    if not told:
        return False
    newest = Previewed.model_validate_json(told[-1])
    return newest.step * (most + 1) >= newest.steps * (shown + 1)


async def _latest(jobs: Jobs, job: Job, form: PictureFormat) -> bytes | None:
    picture = await jobs.client.carry_out(latest(job.id))  # without a look, which keeps a job
    if picture is None or form == "webp":
        return picture
    return await jobs.inputs.decoders.copy(picture, CopyWish(form, None))
