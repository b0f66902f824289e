"""`darkroom generate`: from a wish to files, with progress on a terminal; a client, no more."""

import sys
import time
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from darkroom.command.client import Client
from darkroom.command.wish import Wish
from darkroom.errors import DarkroomError
from darkroom.job import Job, JobStatus


class GenerateError(DarkroomError):
    """The job did not succeed, or its picture cannot be written."""

    code = "generate"


def generate_pictures(client: Client, wish: Wish, console: Console) -> tuple[Job, list[str]]:
    """Submit, follow, fetch and write. Interrupted by Ctrl-C it cancels the job and goes on with
    KeyboardInterrupt. Raises DarkroomError if there is no picture in the end."""
    job = client.submit(wish.body)
    try:
        job = _follow(client, job, console)
    except KeyboardInterrupt:
        job = client.cancel(job.id)
        console.print(f"{job.id} {job.status}")
        raise
    for warning in job.warnings:
        console.print(f"Warning: {warning}")
    if job.status is not JobStatus.SUCCEEDED:
        why = f": {job.error.message} ({job.error.code})" if job.error else ""
        raise GenerateError(f"{job.id} {job.status}{why}")
    pictures = [client.image(image.id) for image in job.kept]
    if wish.output == "-":
        sys.stdout.buffer.write(pictures[0])
        return job, ["-"]
    files = wish.files(job.kept)
    for file, data in zip(files, pictures, strict=True):
        _write(file, data)
    return job, [str(file) for file in files]


def _follow(client: Client, job: Job, console: Console) -> Job:
    show = _Bar(console) if console.is_terminal else _Lines(console)
    with show:
        for state in client.follow(job.id):
            job = state
            show.update(job)
    return job


class _Bar:
    """A line on a terminal that is drawn over: stage, bar, step, time left."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[step]}"),
            TextColumn("{task.fields[left]}"),
        )
        self._progress = Progress(*columns, console=console)
        self._task: TaskID = self._progress.add_task("queued", total=1.0, step="", left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, job: Job) -> None:
        ratio, step, left = _measure(job)
        self._progress.update(
            self._task, completed=ratio, description=_stage(job), step=step, left=left
        )


class _Lines:
    """The same where nothing can be drawn over: a line per change, at most one a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said, self._said_at = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, job: Job) -> None:
        ratio, step, left = _measure(job)
        told = f"{ratio:4.0%}" if step else ""
        line = "  ".join(part for part in (_stage(job), step, told, left) if part)
        now = time.monotonic()
        if line != self._said and (job.status.terminal or now - self._said_at >= 1.0):
            self._console.print(line)
            self._said, self._said_at = line, now


def _stage(job: Job) -> str:
    if job.status is JobStatus.QUEUED:
        before = job.queue.position if job.queue else 0
        return f"queued, {before} before it" if before else "queued"
    return job.progress.stage if job.status is JobStatus.RUNNING and job.progress else job.status


def _measure(job: Job) -> tuple[float, str, str]:
    """Ratio, `step 3/25`, `2.1 s left`; empty words while they are not known."""
    progress = job.progress
    if job.status is JobStatus.SUCCEEDED:
        total = f"{job.timings.total:.1f} s" if job.timings and job.timings.total else ""
        return 1.0, f"step {progress.steps}/{progress.steps}" if progress else "", total
    if progress is None or not progress.steps:
        return 0.0, "", ""
    left = "" if progress.eta_s is None else f"{progress.eta_s:.1f} s left"
    return progress.ratio, f"step {progress.step}/{progress.steps}", left


def _write(file: Path, data: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise GenerateError(f"The picture cannot be written: {file}: {error.strerror}") from error
