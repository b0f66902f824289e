"""`darkroom jobs`: list, show, cancel, retry, follow, download jobs; a client of any URL."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from darkroom.client.connecting import DEFAULT_URL
from darkroom.command.generate import download
from darkroom.command.remote import Fields, Key, Url, client_of, say_files
from darkroom.command.short_ids import whole_id
from darkroom.command.terminal import (
    AsJson,
    err,
    faults,
    out,
    print_json,
    print_rows,
    print_rows_and_text,
)
from darkroom.command.wish import set_field
from darkroom.job import Job, JobStatus
from darkroom.text import plain

jobs = typer.Typer(
    help="List, show, cancel, retry, follow and download jobs.", no_args_is_help=True
)

JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's id, or how it begins or ends."),
]
SHORT_ID = 8
"""Characters of an id that are listed: its last ones, which are drawn; the first tell the time."""


@jobs.command("ls")
def jobs_ls(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs of this status.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    starred: Annotated[bool, typer.Option("--starred", help="Only starred jobs.")] = False,
    text: Annotated[
        str | None, typer.Option(help="Only jobs of yours whose prompt holds this.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with faults(), client_of(url, key) as client:
        filters = {"status": status, "model": model, "starred": starred or None, "q": text}
        found = list(client.jobs(limit=limit, **filters))
    if as_json:
        print_json([job.model_dump(mode="json", by_alias=True) for job in found])
        return
    if found:
        print_rows_and_text([_HEADINGS, *map(_row, found)])
    else:
        err.print("No jobs.")


@jobs.command("show")
def jobs_show(
    job_id: JobId, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Show what was asked, how far it is, where its pictures are."""
    with faults(), client_of(url, key) as client:
        job = client.job(whole_id(client, job_id))
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        _show(job, url)


@jobs.command("cancel")
def jobs_cancel(
    job_id: JobId, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Cancel a job; a running one stops at its next step."""
    with faults(), client_of(url, key) as client:
        job = client.cancel(whole_id(client, job_id))
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        ended = job.status in (JobStatus.SUCCEEDED, JobStatus.FAILED)
        out.print(f"{job.id} {job.status}{': it had ended already' if ended else ''}")


@jobs.command("mark")
def jobs_mark(
    job_id: JobId,
    star: Annotated[bool | None, typer.Option("--star/--no-star", help="Star it, or not.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag, in place of those it has; may be repeated.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Star a job, or change its tags, to find it again."""
    marks = {name: value for name, value in (("starred", star), ("tags", tag)) if value is not None}
    if not marks:
        raise typer.BadParameter("nothing to mark: give --star, --no-star or --tag")
    with faults(), client_of(url, key) as client:
        job = client.mark(whole_id(client, job_id), marks)
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        starred = "starred" if job.starred else "not starred"
        out.print(plain(f"{job.id} {starred}, tags: {', '.join(job.tags) or 'none'}"))


@jobs.command("retry")
def jobs_retry(
    job_id: JobId,
    seed: Annotated[
        int | None, typer.Option(min=-1, help="Another seed; -1 draws one. Left out: the same.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Another prompt.")] = None,
    field: Fields = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a job again, with changes.

    What is given here takes the place of the job's own."""
    given = {"seed": seed, "prompt": prompt}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        for each in field or ():
            set_field(changes, each)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with faults(), client_of(url, key) as client:
        job = client.retry(whole_id(client, job_id), changes)
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        out.print(f"{job.id} {job.status}")


@jobs.command("watch")
def jobs_watch(
    job_id: JobId, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Follow a job to its end.

    With --json one line per change. Exit status 1 if it failed."""
    with faults(), client_of(url, key) as client:
        for job in client.follow(whole_id(client, job_id)):
            if as_json:
                out.print(job.model_dump_json(by_alias=True))
            else:
                out.print(_progress(job))
    if job.status is not JobStatus.SUCCEEDED:
        _say_error(job)
        raise typer.Exit(1)
    if not as_json:
        _show(job, url)


@jobs.command("download")
def jobs_download(
    job_id: JobId,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File or folder to write to; - writes one picture to standard output. Left out: "
            "files named after the prompt and the seed.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Write the pictures of a job to files."""
    with faults(), client_of(url, key) as client:
        job = client.job(whole_id(client, job_id))
        files = download(client, job, output)
    if as_json:
        print_json({**job.model_dump(mode="json", by_alias=True), "files": files})
    elif output != "-":
        say_files(files, job)


_HEADINGS = ("job", "status", "model", "size", "steps", "seconds", "created", "prompt")


def _row(job: Job) -> tuple[str, ...]:
    request, total = job.request, job.timings.total if job.timings else None
    width, height = request.get("width"), request.get("height")
    return (
        job.id[-SHORT_ID:],
        _progress(job),
        str(request.get("model", "")),
        f"{width}x{height}" if width and height else "",
        str(request.get("num_inference_steps") or ""),
        "" if total is None else f"{total:.1f}",
        _moment(job.created_at),
        str(request.get("prompt", "")),
    )


def _moment(moment: datetime | None) -> str:
    """In the zone of this machine, and which one that is."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}" if moment else ""


def _progress(job: Job) -> str:
    if job.status is JobStatus.RUNNING and job.progress:
        step = f" {job.progress.step}/{job.progress.steps}" if job.progress.steps else ""
        return f"running: {job.progress.doing}{step}"
    if job.status is JobStatus.QUEUED and job.queue:
        return f"queued, {job.queue.position} before it"
    return str(job.status)


def _say_error(job: Job) -> None:
    if job.error:
        err.print(plain(f"{job.id} {job.status}: {job.error.message} ({job.error.code})"))
    else:
        err.print(f"{job.id} {job.status}.")


def _show(job: Job, url: str) -> None:
    values: dict[str, Any] = {
        "job": job.id,
        "status": _progress(job),
        "waits": job.queue.reason if job.queue else None,
        "created": _moment(job.created_at),
        "started": _moment(job.started_at),
        "finished": _moment(job.finished_at),
        "seconds": _seconds(job),
        "priority": job.priority,
        "tags": ", ".join(job.tags),
        "starred": "yes" if job.starred else None,
        "metadata": job.metadata,
        "retry of": job.parent_id,
        **job.request,
        **{f"picture {n}": f"{url}{i.url}" for n, i in enumerate(job.kept, 1)},
        **{f"warning {n}": w for n, w in enumerate(job.warnings, 1)},
        "error": f"{job.error.message} ({job.error.code})" if job.error else None,
        "worker": job.worker,
        "attempts": job.attempts if job.attempts > 1 else None,
    }
    print_rows([(name, said) for name, value in values.items() if (said := _said(value))])


def _seconds(job: Job) -> str:
    """`3.2: queued 0.1, load 2.0, ...`"""
    if not job.timings or job.timings.total is None:
        return ""
    stages = job.timings.model_dump(exclude={"total", "device"}, exclude_none=True)
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
    return f"{job.timings.total:.1f}: {parts}"


def _said(value: Any) -> str:
    """A value of a request for people: text as it is, the rest as JSON without what is left out."""
    value = _without_nothing(value)
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _without_nothing(value: Any) -> Any:
    """Objects without their nulls; None for what is empty then."""
    if isinstance(value, dict):
        value = {name: _without_nothing(inner) for name, inner in value.items()}
        value = {name: inner for name, inner in value.items() if inner is not None}
    elif isinstance(value, list):
        value = [_without_nothing(inner) for inner in value]
    return None if value in ({}, [], "") else value
