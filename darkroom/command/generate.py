"""`darkroom generate`: from a wish to files, with progress on a terminal; a client, no more."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from darkroom.client.client import Client
from darkroom.command.terminal import command_line
from darkroom.command.wish import Wish, check_format
from darkroom.errors import DarkroomError
from darkroom.job import Job, JobStatus
from darkroom.text import plain


class GenerateError(DarkroomError):
    """The job did not succeed, or its picture cannot be written."""

    code = "generate"


def generate_pictures(client: Client, wish: Wish, console: Console) -> tuple[Job, list[str]]:
    """Submit, follow, fetch and write. Interrupted by Ctrl-C it cancels the job and goes on with
    KeyboardInterrupt. Raises DarkroomError if there is no picture in the end, and before the job is
    made if there is no place to write to."""
    check_target(wish.output)
    job = client.submit(wish.body)
    try:
        job = _follow(client, job, console)
    except KeyboardInterrupt:
        job = client.cancel(job.id)
        console.print(f"{job.id} {job.status}")
        raise
    for warning in job.warnings:
        console.print(f"Warning: {plain(warning)}")
    if job.status is not JobStatus.SUCCEEDED:
        why = f": {job.error.message} ({job.error.code})" if job.error else ""
        raise GenerateError(plain(f"{job.id} {job.status}{why}"))
    return job, _fetch(client, job, wish)


def download(client: Client, job: Job, output: str | None) -> list[str]:
    """Write the pictures of a job; returns the names of the files. Raises DarkroomError."""
    if not job.kept:
        raise GenerateError(f"{job.id} has no pictures: it is {job.status}.")
    if output == "-" and len(job.kept) > 1:
        raise GenerateError("Standard output holds one picture, not several: leave out -o -")
    check_target(output)
    try:
        check_format(output, job.kept[0].format)
    except ValueError as error:
        raise GenerateError(str(error)) from error
    return _fetch(client, job, Wish(job.request, output))


def check_target(output: str | None) -> None:
    """Raises GenerateError unless pictures can be written there. A folder, whose name ends in a
    slash, is made."""
    if output in ("-", os.devnull):
        return
    target = Path(output or ".")
    try:
        if output and output.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        folder = target if target.is_dir() else target.parent
        if not folder.is_dir():
            raise GenerateError(f"--output {output}: there is no folder {folder}")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise GenerateError(f"No picture can be written to {target}: {error.strerror}") from error


def _fetch(client: Client, job: Job, wish: Wish) -> list[str]:
    pictures = [client.image(image.id) for image in job.kept]
    if wish.output == "-":
        sys.stdout.buffer.write(pictures[0])
        return ["-"]
    files = wish.files(job.kept)
    return [write(data, file, job.id) for file, data in zip(files, pictures, strict=True)]


def write(data: bytes, file: Path, job_id: str) -> str:
    """Write a picture of a job; returns the name of the file. Raises GenerateError."""
    try:
        file.write_bytes(data)
    except OSError as error:
        raise GenerateError(
            f"The picture cannot be written to {file}: {error.strerror}. It is kept: "
            + command_line("jobs", "download", job_id, "-o", "FILE")
        ) from error
    return str(file)


def _follow(client: Client, job: Job, console: Console) -> Job:
    with ctrl_c() as stop_if_pressed, display(console) as show:
        for state in client.follow(job.id):
            stop_if_pressed()
            job = state
            show.update(_stage(job), *_measure(job), at_once=job.status.terminal)
    return job


def display(console: Console) -> "_Bar | _Lines":
    """What shows how far something is. A context manager."""
    return _Bar(console) if console.is_terminal else _Lines(console)


@contextmanager
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Ctrl-C raises KeyboardInterrupt at once, as ever, and what is yielded raises it again: Python
    drops what is raised while it runs a finaliser, and the job would go on. A process that was
    started deaf to it, as a shell's background jobs are, stays so."""
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def stop_if_pressed() -> None:
        if pressed:
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop_if_pressed
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield stop_if_pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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

    def update(
        self,
        stage: str,
        ratio: float,
        step: str = "",
        left: str = "",
        *,
        at_once: bool,  # noqa: ARG002
    ) -> None:
        self._progress.update(self._task, completed=ratio, description=stage, step=step, left=left)


class _Lines:
    """The same where nothing can be drawn over: a line per change, at most one a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said, self._said_at = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(
        self, stage: str, ratio: float, step: str = "", left: str = "", *, at_once: bool
    ) -> None:
        """`at_once`: whether to say it though a second has not passed."""
        told = f"{ratio:4.0%}" if step else ""
        line = "  ".join(part for part in (stage, step, told, left) if part)
        now = time.monotonic()
        if line != self._said and (at_once or now - self._said_at >= 1.0):
            self._console.print(line)
            self._said, self._said_at = line, now


def _stage(job: Job) -> str:
    if job.status is JobStatus.QUEUED:
        before = job.queue.position if job.queue else 0
        return f"queued, {before} before it" if before else "queued"
    return job.progress.doing if job.status is JobStatus.RUNNING and job.progress else job.status


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
