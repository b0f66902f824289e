"""Commands that talk to a running Darkroom by its URL: generate, jobs, models ls; clients only."""

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from darkroom.command.client import DEFAULT_URL, Client, ClientError
from darkroom.command.generate import GenerateError, generate_pictures
from darkroom.command.terminal import (
    AsJson,
    err,
    faults,
    out,
    plain,
    print_json,
    print_rows,
)
from darkroom.command.wish import Wish
from darkroom.job import Job
from darkroom.request import PictureFormat

models = typer.Typer(help="List, add, remove, check and download models.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--url", envvar="DARKROOM_URL", help="The Darkroom to talk to.")]


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
        say_files(files, job)


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
    "task": "--task",
    "image": "--image",
    "images": "--image",
    "strength": "--strength",
    "mask_image": "--mask",
    "controls": "--control",
    "loras": "--lora",
    "reference_images": "--reference",
    "output.format": "--format",
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
        path = ".".join([name, *inner])
        option = _OPTIONS.get(path if name == "output" else name) or f"--field {path}"
        lines.append(plain(f"{option}: {said}"))
    return "\n       ".join(dict.fromkeys(lines)) or str(error)


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


def say_files(files: list[str], job: Job) -> None:
    """Which files hold the pictures of a job."""
    for file, record in zip(files, job.kept, strict=True):
        out.print(plain(f"{file}  seed {record.seed}"))
