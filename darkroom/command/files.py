"""`darkroom files`: keep pictures in a running Darkroom, list, get and remove them; a client of any
URL."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from darkroom.client.connecting import DEFAULT_URL
from darkroom.command.generate import GenerateError
from darkroom.command.remote import Key, Url, client_of
from darkroom.command.terminal import AsJson, err, faults, out, print_json, print_rows
from darkroom.kept_file import KeptFile
from darkroom.text import plain

files = typer.Typer(
    help="Keep pictures in a running Darkroom, to be named in requests.", no_args_is_help=True
)

FileId = Annotated[str, typer.Argument(metavar="FILE", help="A file's id: file_...")]


@files.command("put")
def files_put(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures to keep.")],
    mask: Annotated[bool, typer.Option("--mask", help="Read them as masks.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Upload pictures. Their ids go wherever a picture does: generate --image file_..."""
    kept = []
    with faults(), client_of(url, key) as client:
        for path in paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise typer.BadParameter(f"{path}: {error.strerror}") from None
            kept.append(client.put_file(data, "mask" if mask else "picture"))
            if not as_json:
                out.print(plain(f"{kept[-1].id}  {path}"))
                for warning in kept[-1].warnings:
                    err.print(plain(warning))
    if as_json:
        print_json([_as_dict(file) for file in kept])


@files.command("ls")
def files_ls(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List files, newest first."""
    with faults(), client_of(url, key) as client:
        found = list(client.files(limit=limit))
    if as_json:
        print_json([_as_dict(file) for file in found])
    elif found:
        print_rows([("file", "kind", "size", "bytes", "kept until"), *map(_row, found)])
    else:
        err.print("No files.")


@files.command("get")
def files_get(
    file_id: FileId,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Left out: the id with .png; - writes to standard output.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Write the picture of a file."""
    with faults(), client_of(url, key) as client:
        data = client.file_content(file_id)
        if output == "-":
            sys.stdout.buffer.write(data)
            return
        path = Path(output or f"{file_id}.png")
        try:
            path.write_bytes(data)
        except OSError as error:
            raise GenerateError(f"The picture cannot be written: {error}") from None
    out.print(plain(str(path)))


@files.command("rm")
def files_rm(
    file_ids: Annotated[list[str], typer.Argument(metavar="FILE...", help="Ids: file_...")],
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Delete files. Jobs that use them keep what they need."""
    with faults(), client_of(url, key) as client:
        for file_id in file_ids:
            client.delete_file(file_id)
            out.print(plain(f"{file_id} deleted"))


def _as_dict(file: KeptFile) -> dict[str, object]:
    return file.model_dump(mode="json", by_alias=True)


def _row(file: KeptFile) -> tuple[str, ...]:
    until = f"{file.expires_at.astimezone():%Y-%m-%d %H:%M %Z}"
    return file.id, file.kind, f"{file.width}x{file.height}", str(file.bytes), until
