"""What one job owns while it runs: its claim, how far it is, why it must stop; engine side."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from darkroom.costs import Work
from darkroom.draft import Draft, stored
from darkroom.errors import DarkroomError, JobInterrupt
from darkroom.events import Logged
from darkroom.hires import upscale_model
from darkroom.input_images import Place, first_of
from darkroom.job import COMPILING, Progress, Stage, Timings
from darkroom.offers import Offer
from darkroom.queue.claim import Claim
from darkroom.request import Request
from darkroom.validation import completed, warnings_about

if TYPE_CHECKING:  # they bring torch
    from worker.loading.schedulers import Look
    from worker.previews import Previews

LAST_STEPS = 2
"""Denoising steps: about what it takes until another job has begun and encoded its prompt."""


@dataclass(frozen=True)
class _Clock:
    """The stage that a job is in, since when, and the seconds by stage before. Replaced as a whole:
    other threads read it, and a stage that was both over and still going on would count twice."""

    stage: Stage
    since: float
    spent: Mapping[str, float]

    def spent_at(self, now: float) -> dict[str, float]:
        """Seconds by stage up to `now`."""
        return {**self.spent, self.stage: self.spent.get(self.stage, 0.0) + now - self.since}


@dataclass(eq=False)
class RunningJob:
    """One job from its claim to its last write. The engine's thread changes it, and before it
    starts the one that begins it; others read `progress` and set `interrupt`, each a single
    assignment."""

    claim: Claim
    asked: Request | Draft
    """A request that fits the model, once the job has started."""
    deadline: float | None
    """On this process's monotonic clock."""
    inputs: Mapping[Place, Image.Image] = field(default_factory=dict)
    """Its input pictures, once it has begun."""
    claimed_at: float = field(default_factory=time.monotonic)
    """When it was claimed, or began, on the same clock."""
    asked_to_begin: bool = False
    """Whether the loop wants to start it."""
    fault: DarkroomError | None = None
    """Why it cannot be started."""
    handed_on: bool = False
    """Whether the loop is done with it, and only its end has still to be written down."""
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
    parts: tuple[Work, ...] = ()
    """What it asks of its model; of a job that has started."""
    step_s: tuple[float, ...] = ()
    """Seconds that a step of each part is likely to take alone."""
    work: Work = field(init=False)
    """The part of it that is made now."""
    apart_s: dict[Stage, float] = field(default_factory=dict)
    """Seconds of its calls that it shared with nobody, by stage, until they are told."""
    device_s: float = 0.0
    """Seconds of the device that were its own in this attempt, as measured."""
    previews: "Previews | None" = None
    """Its early pictures, where it shows some."""
    telling: threading.Lock = field(default_factory=threading.Lock)
    """Held while its news are told, so that nothing is told twice."""

    stored: Mapping[str, Any] = field(init=False)
    """What the job and its pictures say of the request: posted back it gives the same ones."""
    _clock: _Clock = field(init=False)
    _left: tuple[Progress | Logged, ...] = ()
    """How far it was when it left each stage, and what turned out meanwhile."""
    _told: tuple[Progress | Logged, ...] = ()

    def __post_init__(self) -> None:
        self.stored = self.claim.request
        self._clock = _Clock(self.progress.stage, self.claimed_at, self.claim.spent)

    def begin(self, claim: Claim) -> None:
        """It has begun, and may start: `claim` says so."""
        self.claimed_at = time.monotonic()
        self._clock = _Clock(self.progress.stage, self.claimed_at, claim.spent)
        self.claim = claim

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun, or is about to."""
        return self.asked_to_begin or self.claim.began

    @property
    def is_leaving(self) -> bool:
        """Whether its place is about to be free: the next job can begin, and encode its prompt."""
        progress = self.progress
        nearly_done = 0 < progress.steps <= progress.step + LAST_STEPS
        return nearly_done or progress.stage in ("decode", "save")

    @property
    def request(self) -> Request:
        """What to make; of a job that has started."""
        assert isinstance(self.asked, Request), "the job has not started"
        return self.asked

    @property
    def model(self) -> str:
        return self.asked.model

    @property
    def models(self) -> tuple[str, ...]:
        """All that have to be in memory for it, its own first."""
        other = upscale_model(self.claim.request)
        return (self.model,) if other in (None, self.model) else (self.model, other)

    @property
    def made_by(self) -> str:
        """The model of the part that is made now."""
        return self.work.model or self.model

    def complete(self, offer: Offer) -> None:
        """Fill in what was not known of the model when the job was submitted, and check all of it:
        the card may have changed since, and whoever reaches Redis can queue anything.

        Raises InvalidRequestError, UnsupportedError."""
        image = first_of(self.inputs)
        kept = Draft(self.asked.task, self.claim.request)
        request = completed(kept, offer, image.size if image else None)
        self.stored = stored(request, offer)
        if isinstance(self.asked, Draft):
            self.warn(warnings_about(self.stored, offer))
        self.asked = request

    def warn(self, sentences: Iterable[str]) -> None:
        """Tell the client what may not be as it thinks, each of it once."""
        known = {*self.claim.warnings, *self.warnings}
        new = [each for each in dict.fromkeys(sentences) if each not in known]
        self.warnings += new
        self._left += tuple(Logged(level="warning", message=each) for each in new)

    def needed(self, rung: str) -> None:
        """A pass of it found room by this rung of the memory ladder, or a later one before."""
        if rung != self.memory:
            self.memory = rung
            self._left += (Logged(level="info", message=f"Memory was short: {rung}."),)

    @property
    def late_request(self) -> Mapping[str, Any] | None:
        """The request, if the job does not show it yet as it is made."""
        return None if self.stored == self.claim.request else self.stored

    @property
    def id(self) -> str:
        return self.claim.job_id

    @property
    def waited_s(self) -> float:
        """Seconds since the job was submitted."""
        before = self.claim.queued_s + sum(self.claim.spent.values())
        return before + time.monotonic() - self.claimed_at

    def enter(self, stage: Stage, detail: str | None = None) -> None:
        """Begin `stage` if it is not the current one; the time so far goes to the one before.
        `detail`: what is being loaded, in words."""
        before = self.progress
        if stage == before.stage:
            return
        now = time.monotonic()
        self._clock = _Clock(stage, now, self._clock.spent_at(now))
        self._left = (*self._left, before)
        step = before.steps if stage == "save" else before.step
        eta_s = before.eta_s if stage != "load" else None  # nobody knows how long that takes
        self.progress = self._progress(stage, step, before.steps, eta_s, detail)

    def tell_of_load(self, model: str, share: float) -> None:
        """The model called `model` is loaded now, and this share of its weights has been read; of
        those that wait for it, let all say so."""
        if model in self.models and not self.started and share != self.progress.loaded:
            self.progress = Progress(stage="load", detail=f"the model {model}", loaded=share)

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Around a pass of it that compiles its model: this is loading, wherever the job was."""
        stage, (width, height) = self.progress.stage, self.work.size
        self.enter("load", f"{COMPILING} the model {self.made_by} for {width} x {height}")
        try:
            yield
        finally:
            if self.progress.stage == "load":  # else it has gone on
                self.enter(stage)

    def step(self, i: int, n: int, look: "Look") -> None:
        """`i` of `n` denoising steps are done, which led to what `look` gives."""
        self.enter("denoise")
        before = self.claim.spent.get("denoise", 0.0)
        denoising = self._clock.spent_at(time.monotonic())["denoise"] - before
        eta_s = round(denoising * self._time_left(i, n), 2) if i else None
        self.progress = self._progress("denoise", i, n, eta_s)
        if self.previews is not None and self.made_by == self.model:
            self.previews.see(i, n, look)

    def begins(self, part: int) -> None:
        """What follows is this part of it."""
        self.work = self.parts[part]

    def _time_left(self, i: int, n: int) -> float:
        """How many times as long as the first `i` of `n` steps those after them are likely to take:
        the ones of a larger part are slower."""
        parts = zip(self.parts, self.step_s, strict=True)
        seconds = [step_s for part, step_s in parts for _ in range(part.steps)]
        seconds = seconds * (n // len(seconds)) if seconds else [1.0] * n
        return sum(seconds[i:]) / sum(seconds[:i])

    def _progress(
        self, stage: Stage, step: int, steps: int, eta_s: float | None, detail: str | None = None
    ) -> Progress:
        """The ratio counts steps, to which decoding and saving the pictures add one each."""
        done = step + (stage == "save")
        ratio = max(done / (steps + 2), self.progress.ratio)
        return Progress(
            stage=stage,
            detail=detail,
            step=step,
            steps=steps,
            ratio=round(ratio, 4),
            eta_s=eta_s,
        )

    @property
    def done(self) -> Progress:
        """How far it is once all is made and stored."""
        return self.progress.model_copy(update={"ratio": 1.0, "eta_s": 0.0})

    @property
    def news(self) -> tuple[Progress | Logged, ...]:
        """What those who follow the job have not been told: how each stage ended since, what turned
        out, and how far it is now. From any thread that holds `telling`."""
        events = (*self._left, self.progress)
        return tuple(each for each in events if not any(each is told for told in self._told))

    def told(self, event: Progress | Logged) -> None:
        """It is no news any more."""
        known = self._left
        self._told = (*(each for each in self._told if any(each is old for old in known)), event)

    def spent_so_far(self) -> dict[str, float]:
        """Seconds by stage up to now, and of the device, in all attempts. From any thread."""
        spent = self._clock.spent_at(time.monotonic())
        if device_s := self.claim.device_s + self.device_s:
            spent["device"] = device_s
        return {stage: round(seconds, 4) for stage, seconds in spent.items()}

    def timings(self) -> Timings:
        """Seconds by stage up to now; `total` counts from submission and is their sum."""
        return Timings(
            queued=round(self.claim.queued_s, 4),
            total=round(self.waited_s, 4),
            **self.spent_so_far(),
        )
