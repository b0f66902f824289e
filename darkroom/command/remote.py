"""Commands that talk to a running Darkroom by its URL: generate, jobs, models ls; clients only."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from darkroom.command.client import DEFAULT_URL, Client, ClientError
from darkroom.command.generate import GenerateError, download, generate_pictures
from darkroom.command.terminal import (
    AsJson,
    err,
    faults,
    out,
    plain,
    print_json,
    print_rows,
    print_rows_and_text,
)
from darkroom.command.wish import Wish
from darkroom.job import Job, JobStatus
from darkroom.request import PictureFormat

jobs = typer.Typer(help="List, show, cancel, follow and download jobs.", no_args_is_help=True)
models = typer.Typer(
    help="List the models on offer; check that they work; download them.", no_args_is_help=True
)

Url = Annotated[str, typer.Option("--url", envvar="DARKROOM_URL", help="The Darkroom to talk to.")]
JobId = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's id, or how it begins or ends."),
]
SHORT_ID = 8
"""Characters of an id that are listed: its last ones, which are drawn; the first tell the time."""


def generate(
    prompt: Annotated[str | None, typer.Argument(help="What the picture shows.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File or folder to write to; - writes one picture"
            " to standard output. Left out: a file named after the prompt and the seed.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="See `darkroom models ls`.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How strongly to follow the prompt; 1 switches it off.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Pixels, such as 512x768 or 512.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same picture; left out: drawn.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="The noise scheduler, such as EulerDiscreteScheduler.")
    ] = None,
    negative: Annotated[str | None, typer.Option(help="What it should not show.")] = None,
    number: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="How many pictures.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A picture to start from, or file_... sent earlier."),
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="With --image: 0 keeps it, 1 makes all new.")
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --image: white where to paint anew."),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="A picture for a ControlNet; may be repeated."),
    ] = None,
    preprocess: Annotated[
        Literal["canny"] | None, typer.Option(help="Find the edges of --control pictures first.")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:SCALE]", help="A LoRA of the model; may be repeated."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A picture whose style to follow; may be repeated."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            "-f",
            metavar="FIELD=VALUE",
            help="Any other field of the request, such as clip_skip=1 or"
            " scheduler_options.sigmas=karras; the value is JSON or text.",
        ),
    ] = None,
    image_format: Annotated[
        PictureFormat | None,
        typer.Option("--format", help="Left out: as the name of the file says, else png."),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Make the picture in a file again, from what it says of itself;"
            " other options change parts of it.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Make a picture: send the request, show progress, write files. Ctrl-C cancels the job."""
    values: dict[str, Any] = {
        "model": model,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "scheduler": scheduler,
        "negative_prompt": negative,
        "num_images": number,
        "strength": strength,
    }
    places: dict[str, Any] = {
        "image": image,
        "mask": mask,
        "controls": control or (),
        "preprocess": preprocess,
        "loras": lora or (),
        "references": reference or (),
        "fields": field or (),
        "output": output,
        "image_format": image_format,
        "replay": replay,
    }
    with faults(), Client(url) as client:
        try:
            wish = Wish.of(prompt, size=size, **places, **values)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        try:
            job, files = generate_pictures(client, wish, err)
        except ClientError as error:
            raise GenerateError(_in_options(error, client)) from error
    if as_json:
        print_json({**job.model_dump(mode="json", by_alias=True), "files": files})
    elif output != "-":
        _say_files(files, job)


_OPTIONS = {
    "prompt": "PROMPT",
    "model": "--model",
    "num_inference_steps": "--steps",
    "guidance_scale": "--guidance",
    "width": "--size",
    "height": "--size",
    "seed": "--seed",
    "scheduler": "--scheduler",
    "negative_prompt": "--negative",
    "num_images": "--number",
    "image": "--image",
    "strength": "--strength",
    "mask_image": "--mask",
    "controls": "--control",
    "loras": "--lora",
    "reference_images": "--reference",
    "output": "--format",
}
"""The options that stand for fields of the request; `--field` for all others."""


def _in_options(error: ClientError, client: Client) -> str:
    """What the service refused, in the words of the command line."""
    if error.code == "model_not_found":
        names = ", ".join(model["id"] for model in client.models())
        return f"--model: {error} There are: {names}."
    lines = []
    for pointer, said in error.fields:
        name, *inner = pointer.lstrip("/").split("/")
        option = _OPTIONS.get(name) or f"--field {'.'.join([name, *inner])}"
        lines.append(plain(f"{option}: {said}"))
    return "\n       ".join(dict.fromkeys(lines)) or str(error)


@jobs.command("ls")
def jobs_ls(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs of this status.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with faults(), Client(url) as client:
        found = list(client.jobs(status=status, model=model, limit=limit))
    if as_json:
        print_json([job.model_dump(mode="json", by_alias=True) for job in found])
        return
    if found:
        print_rows_and_text([_HEADINGS, *map(_row, found)])
    else:
        err.print("No jobs.")


@jobs.command("show")
def jobs_show(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one job: what was asked, how far it is, where its pictures are."""
    with faults(), Client(url) as client:
        job = client.job(client.find(job_id))
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        _show(job, url)


@jobs.command("cancel")
def jobs_cancel(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Cancel a job; a running one stops at its next step."""
    with faults(), Client(url) as client:
        job = client.cancel(client.find(job_id))
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        out.print(f"{job.id} {job.status}")


@jobs.command("watch")
def jobs_watch(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Follow a job to its end; with --json one line per change. Exit status 1 if it failed."""
    with faults(), Client(url) as client:
        for job in client.follow(client.find(job_id)):
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
    as_json: AsJson = False,
) -> None:
    """Write the pictures of a job to files."""
    with faults(), Client(url) as client:
        job = client.job(client.find(job_id))
        files = download(client, job, output)
    if as_json:
        print_json({**job.model_dump(mode="json", by_alias=True), "files": files})
    elif output != "-":
        _say_files(files, job)


@models.command("ls")
def models_ls(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the models that a running Darkroom offers."""
    with faults(), Client(url) as client:
        found = client.models()
    if as_json:
        print_json(found)
        return
    rows = [("model", "tasks", "workers", "licence")]
    for model in found:
        workers = ", ".join(model["served_by"]) or "none"
        rows.append(
            (
                " or ".join([model["id"], *model["aliases"]]),
                ", ".join(model["tasks"]),
                f"cannot be loaded: {model['error']}" if model["error"] else workers,
                model["licence"] or "",
            )
        )
    print_rows(rows)


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
        return f"running: {job.progress.stage}{step}"
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
        "created": _moment(job.created_at),
        "started": _moment(job.started_at),
        "finished": _moment(job.finished_at),
        "seconds": _seconds(job),
        "priority": job.priority,
        "tags": ", ".join(job.tags),
        "metadata": job.metadata,
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
    stages = job.timings.model_dump(exclude={"total"}, exclude_none=True)
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


def _say_files(files: list[str], job: Job) -> None:
    for file, record in zip(files, job.kept, strict=True):
        out.print(plain(f"{file}  seed {record.seed}"))
