"""What one job owns while it runs: its claim, how far it is, why it must stop; engine side."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from pydantic import BaseModel

from darkroom.draft import Draft, stored
from darkroom.errors import DarkroomError, DeviceMemoryError, JobInterrupt
from darkroom.input_images import IMAGE, Place
from darkroom.job import JobError, Progress, Timings
from darkroom.offers import Offer
from darkroom.queue.queue import Claim
from darkroom.request import Request
from darkroom.validation import completed


def unexpected(error: BaseException) -> JobError:
    """What a client is told of an error that we did not foresee. Messages of libraries can hold
    the prompt; the log has the trace, the client gets the class."""
    message = f"The job ended with an unexpected {type(error).__name__}; the worker's log has more."
    return JobError(code="internal", message=message, retryable=True)


def job_error(error: BaseException) -> JobError:
    """What a client is told of an error that ended a job."""
    if isinstance(error, DarkroomError):
        return JobError(code=error.code, message=str(error), retryable=error.retryable)
    return unexpected(error)


def too_large(job: "RunningJob", error: DeviceMemoryError) -> DeviceMemoryError:
    """What a client is told when nothing made a call of the job fit into memory."""
    request = job.request
    return DeviceMemoryError(
        f"The model {request.model!r} has too little memory for {request.num_images} x "
        f"{request.width} x {request.height}: {error}, and nothing that was tried helped. "
        "Ask for a smaller size or fewer pictures."
    )


@dataclass(eq=False)
class RunningJob:
    """One job from its claim to its last write. The engine's thread changes it; other threads
    read `progress` and set `interrupt`, each a single assignment."""

    claim: Claim
    asked: Request | Draft
    """A draft if nobody knew the model when the job was submitted; a request once it has started.
    """
    inputs: Mapping[Place, Image.Image]
    deadline: float | None
    """On this process's monotonic clock."""
    claimed_at: float = field(default_factory=time.monotonic)
    progress: Progress = field(default_factory=lambda: Progress(stage="load"))
    interrupt: JobInterrupt | None = None
    started: bool = False
    needs_room: bool = False
    """Whether it waits for memory that models with jobs of theirs take."""
    warnings: list[str] = field(default_factory=list)
    flagged: tuple[bool, ...] | None = None
    """Of each picture whether it is to be withheld; None where nothing checks them."""
    memory: str | None = None
    """The last rung of the memory ladder that the job needed."""
    ticks_waited: int = 0
    """Ticks in a row in which the engine ran others and not this job."""
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds by stage, so far."""
    _stage_since: float = field(default_factory=time.monotonic)

    stored: Mapping[str, Any] = field(init=False)
    """What its pictures say of the request: posted back it gives the same ones."""

    def __post_init__(self) -> None:
        self.stored = self.claim.request

    @property
    def request(self) -> Request:
        """What to make; of a job that has started."""
        assert isinstance(self.asked, Request), "the job has not started"
        return self.asked

    @property
    def model(self) -> str:
        return self.asked.model

    def complete(self, draft: Draft, offer: Offer) -> None:
        """Fill in what the draft that was asked for lacks, now that its model is known.

        Raises InvalidRequestError, UnsupportedError."""
        image = self.inputs.get(IMAGE)
        self.asked = completed(draft, offer, image.size if image else None)
        self.stored = stored(self.asked, offer)

    @property
    def id(self) -> str:
        return self.claim.job_id

    @property
    def waited_s(self) -> float:
        """Seconds since the job was submitted."""
        return self.claim.queued_s + time.monotonic() - self.claimed_at

    def enter(self, stage: str) -> None:
        """Begin `stage` if it is not the current one; the time so far goes to the one before."""
        if stage == self.progress.stage:
            return
        now = time.monotonic()
        last = self.progress.stage
        self.spent[last] = self.spent.get(last, 0.0) + now - self._stage_since
        self._stage_since = now
        self.progress = self.progress.model_copy(update={"stage": stage})

    def step(self, i: int, n: int, _: object) -> None:
        """`i` of `n` denoising steps are done."""
        self.enter("denoise")
        denoising = time.monotonic() - self._stage_since + self.spent.get("denoise", 0.0)
        self.progress = Progress(
            stage="denoise",
            step=i,
            steps=n,
            ratio=min(i / n, 1.0) if n else 0.0,
            eta_s=round(denoising / i * (n - i), 2) if i else None,
        )

    @property
    def news(self) -> tuple[BaseModel, ...]:
        """The newest event of each kind that those who follow the job are told; from any thread."""
        return (self.progress,)

    def timings(self) -> Timings:
        """Seconds by stage up to now; `total` counts from submission."""
        now = time.monotonic()
        spent = dict(self.spent)
        stage = self.progress.stage
        spent[stage] = spent.get(stage, 0.0) + now - self._stage_since
        seconds = {name: round(value, 4) for name, value in spent.items()}
        return Timings(
            queued=round(self.claim.queued_s, 4), total=round(self.waited_s, 4), **seconds
        )
