"""Commands that talk to a running Darkroom by its URL: generate, jobs, models ls; clients only."""

from typing import Annotated, Any, Literal

import typer

from darkroom.command.client import DEFAULT_URL, Client
from darkroom.command.generate import generate_pictures
from darkroom.command.terminal import AsJson, err, faults, out, print_json, print_rows
from darkroom.command.wish import Wish
from darkroom.job import Job, JobStatus
from darkroom.request import PictureFormat

jobs = typer.Typer(help="List, show, cancel and follow jobs.", no_args_is_help=True)
models = typer.Typer(
    help="List the models on offer; check that they work; download them.", no_args_is_help=True
)

Url = Annotated[str, typer.Option("--url", envvar="DARKROOM_URL", help="The Darkroom to talk to.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="A job's id: job_...")]


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
        job, files = generate_pictures(client, wish, err)
    if as_json:
        print_json({**job.model_dump(mode="json", by_alias=True), "files": files})
    elif output != "-":
        for file, record in zip(files, job.kept, strict=True):
            out.print(f"{file}  seed {record.seed}")


@jobs.command("ls")
def jobs_ls(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs of this status.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with faults(), Client(url) as client:
        found = client.jobs(status=status, model=model, limit=limit)
    if as_json:
        print_json([job.model_dump(mode="json", by_alias=True) for job in found])
        return
    print_rows([_HEADINGS, *map(_row, found)] if found else [("No jobs.",)])


@jobs.command("show")
def jobs_show(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show one job: what was asked, how far it is, where its pictures are."""
    with faults(), Client(url) as client:
        job = client.job(job_id)
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        _show(job, url)


@jobs.command("cancel")
def jobs_cancel(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Cancel a job; a running one stops at its next step."""
    with faults(), Client(url) as client:
        job = client.cancel(job_id)
    if as_json:
        print_json(job.model_dump(mode="json", by_alias=True))
    else:
        out.print(f"{job.id} {job.status}")


@jobs.command("watch")
def jobs_watch(job_id: JobId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Follow a job to its end; with --json one line per change. Exit status 1 if it failed."""
    with faults(), Client(url) as client:
        for job in client.follow(job_id):
            if as_json:
                out.print(job.model_dump_json(by_alias=True))
            else:
                out.print(_progress(job))
    if job.status is not JobStatus.SUCCEEDED:
        _say_error(job)
        raise typer.Exit(1)
    if not as_json:
        _show(job, url)


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


_HEADINGS = ("job", "status", "model", "size", "steps", "seconds", "created")


def _row(job: Job) -> tuple[str, ...]:
    request, total = job.request, job.timings.total if job.timings else None
    return (
        job.id,
        _progress(job),
        str(request.get("model", "")),
        f"{request.get('width') or '?'}x{request.get('height') or '?'}",
        str(request.get("num_inference_steps", "")),
        "" if total is None else f"{total:.1f}",
        f"{job.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
    )


def _progress(job: Job) -> str:
    if job.status is JobStatus.RUNNING and job.progress:
        step = f" {job.progress.step}/{job.progress.steps}" if job.progress.steps else ""
        return f"running: {job.progress.stage}{step}"
    if job.status is JobStatus.QUEUED and job.queue:
        return f"queued, {job.queue.position} before it"
    return str(job.status)


def _say_error(job: Job) -> None:
    if job.error:
        err.print(f"{job.id} {job.status}: {job.error.message} ({job.error.code})")
    else:
        err.print(f"{job.id} {job.status}.")


def _show(job: Job, url: str) -> None:
    values: dict[str, Any] = {"job": job.id, "status": _progress(job), **job.request}
    values |= {f"picture {n}": f"{url}{i.url}" for n, i in enumerate(job.kept, 1)}
    values |= {f"warning {n}": w for n, w in enumerate(job.warnings, 1)}
    values["error"] = f"{job.error.message} ({job.error.code})" if job.error else None
    values["worker"] = job.worker
    print_rows([(name, str(value)) for name, value in values.items() if value not in (None, "")])
