"""What a client says about a job besides what it asks for, and may change later; used by all
processes."""

from typing import Annotated

from pydantic import Field

from darkroom.fields import Fields, at_most
from darkroom.job import Priority
from darkroom.text import LINES, ONE_LINE
from darkroom.webhook import Webhook

Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=64), ONE_LINE]], at_most(16)]


class JobOptions(Fields):
    """What a client may say about a job besides what it asks for."""

    priority: Priority = "normal"
    """Which of the model's three queues the job waits in."""
    tags: Tags = Field([], max_length=16)
    """Words to find the job by in listings."""
    metadata: dict[
        Annotated[str, Field(max_length=64), ONE_LINE], Annotated[str, Field(max_length=512), LINES]
    ] = Field({}, max_length=16)
    """Anything the client wants to get back with the job."""
    deadline_s: Annotated[float, Field(gt=0, le=7 * 86400)] | None = None
    """Cancel the job if it is not done so many seconds after submission."""
    preview: bool | Annotated[int, Field(ge=1, le=1000)] | None = None
    """Show early pictures of it while it runs: true after each denoising step, a number after each
    so many, five times a second at most; false: none; null: as its worker has it."""
    ttl_s: Annotated[int, Field(ge=1, le=3650 * 86400)] | None = None
    """Delete it with its pictures so many seconds after its end; no later than jobs are."""
    style: Annotated[str, Field(max_length=200)] | None = Field(None, exclude=True)
    """Words to put around the prompts: `GET /api/v1/styles` lists them. The job's request has the
    prompts with them, and no style."""
    webhook: Webhook | None = None
    """Whom to tell of the job, where the operator allows it."""


class JobMarks(Fields):
    """What a client may change of a job. What is left out stays."""

    tags: Annotated[Tags, Field(max_length=16)] | None = None
    """In place of those that it has."""
    starred: bool | None = None
    """Whether to find it among the starred ones. It is kept no longer than others."""
