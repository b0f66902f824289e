"""Commands that talk to a running Darkroom by its URL: generate, jobs, models ls; clients only."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from typer.core import TyperCommand

from darkroom.client.client import Client
from darkroom.client.connecting import DEFAULT_URL
from darkroom.client.refusals import RefusedError
from darkroom.command.first_key import FILE, found_key
from darkroom.command.generate import GenerateError, generate_pictures
from darkroom.command.in_options import in_options
from darkroom.command.sweeps import foreseen, make_sweep, read_grid
from darkroom.command.terminal import (
    AsJson,
    err,
    faults,
    out,
    print_json,
    print_rows,
)
from darkroom.command.wish import Wish
from darkroom.job import Job
from darkroom.ports import is_loopback
from darkroom.request import PictureFormat
from darkroom.settings import Settings
from darkroom.text import plain

models = typer.Typer(help="List, add, remove, check and download models.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--url", envvar="DARKROOM_URL", help="The Darkroom to talk to.")]

Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        "-f",
        metavar="FIELD=VALUE",
        help="Any other field of the request, such as clip_skip=1 or"
        " scheduler_options.sigmas=karras; the value is JSON or text.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="DARKROOM_KEY",
        help="An API key, where it asks for one; better in DARKROOM_KEY, as others may list what "
        "runs here. Left out: that of a `darkroom up` on this machine.",
    ),
]

PATIENCE_S = 4.0
"""What passes within this is waited out; people are told the rest, and can decide."""


def client_of(url: str, key: str | None) -> Client:
    """The Darkroom to talk to. A key that `darkroom up` left for its owner is used by itself, and
    is sent to this machine alone. Raises NoServiceError, UnauthenticatedError."""
    key, key_from = key_of(url, key)
    return Client(url, key=key, key_from=key_from, patience_s=PATIENCE_S)


def key_of(url: str, key: str | None) -> tuple[str | None, str]:
    """The key that is given, else the one that is there for this machine, and where it is from."""
    if not key and is_loopback(urlsplit(url).hostname or ""):
        state_dir = _state_dir()
        return found_key(state_dir), str(state_dir / FILE)
    return key, "DARKROOM_KEY" if key == os.environ.get("DARKROOM_KEY") else "--key"


def _state_dir() -> Path:
    try:
        return Settings().state_dir
    except ValidationError:  # of a setting that is nothing to a client
        return Path(Settings.model_fields["state_dir"].default)


class GenerateCommand(TyperCommand):
    """What stands beside the prompt, or names it as the request does, is told where it goes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            message = getattr(error, "message", "")
            if message.startswith("Got unexpected extra argument"):
                error.message = f'{message}: the prompt goes in quotes, as in "a cat"'
            elif getattr(error, "option_name", "") == "--prompt":
                error.message = f'{message}: the prompt is the argument, as in "a cat"'
            raise


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
    task: Annotated[
        str | None, typer.Option(help="Such as edit; left out: what the options mean.")
    ] = None,
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
    style: Annotated[str | None, typer.Option(help="Words around the prompt, by name.")] = None,
    number: Annotated[
        int | None, typer.Option("-n", "--number", min=1, help="How many pictures.")
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A picture to start from, or img_... of another job; several are edited together.",
        ),
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
    field: Fields = None,
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
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE,...",
            help="Make a picture with each of these values of a field; may be repeated, for each"
            " combination. A JSON list for values with commas.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make nothing; say what it would take.")
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a picture.

    Sends the request, shows progress and writes files. Ctrl-C cancels the job."""
    values: dict[str, Any] = {
        "model": model,
        "task": task,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "scheduler": scheduler,
        "negative_prompt": negative,
        "style": style,
        "num_images": number,
        "strength": strength,
    }
    places: dict[str, Any] = {
        "images": image or (),
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
    with faults(), client_of(url, key) as client:
        try:
            wish = Wish.of(prompt, size=size, **places, **values)
            cells = read_grid(grid or ())
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        try:
            if cells:
                _sweep(client, wish, cells, dry_run=dry_run, as_json=as_json)
                return
            if dry_run:
                _say_dry_run(client.dry_run(wish.body), as_json=as_json)
                return
            job, files = generate_pictures(client, wish, err)
        except RefusedError as error:
            raise GenerateError(in_options(error, client)) from error
    if as_json:
        print_json({**job.model_dump(mode="json", by_alias=True), "files": files})
    elif output != "-":
        say_files(files, job)


def _sweep(
    client: Client, wish: Wish, grid: dict[str, Any], *, dry_run: bool, as_json: bool
) -> None:
    if dry_run:
        told = client.dry_run_batch(wish.body | {"grid": grid})
        print_json(told) if as_json else print_rows(foreseen(told))
        return
    batch, files = make_sweep(client, wish.body, grid, wish.output, err)
    if as_json:
        print_json({**batch.model_dump(mode="json", by_alias=True), "files": files})
    else:
        for file in files:
            out.print(plain(file))


def _say_dry_run(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    request, eta_s = told["request"], told["eta_s"]
    rows = [
        ("model", str(request["model"])),
        ("size", f"{request['width']}x{request['height']}" if request["width"] else ""),
        ("steps", str(request["num_inference_steps"] or "")),
        ("seconds of work", f"{told['work_s']:.1f} ({told['work_source']})"),
        ("done in seconds", "" if eta_s is None else f"{eta_s:.1f}"),
        ("jobs before it", str(told["position"])),
        ("workers", ", ".join(told["workers"]) or "none"),
        *((f"warning {n}", each) for n, each in enumerate(told["warnings"], 1)),
    ]
    print_rows([row for row in rows if row[1]])


@models.command("ls")
def models_ls(url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List the models that a running Darkroom offers."""
    with faults(), client_of(url, key) as client:
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


def say_files(files: list[str], job: Job) -> None:
    """Which files hold the pictures of a job."""
    for file, record in zip(files, job.kept, strict=True):
        out.print(plain(f"{file}  seed {record.seed}"))
