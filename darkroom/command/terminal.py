"""How the commands speak to people and scripts: results to standard output, the rest to error."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from darkroom.errors import DarkroomError

out = Console(soft_wrap=True, highlight=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@contextmanager
def faults() -> Iterator[None]:
    """What goes wrong on purpose ends the program with a sentence and status 1."""
    try:
        yield
    except DarkroomError as error:
        err.print(f"Error: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print("Stopped.")
        raise typer.Exit(1) from None


def command_line(*arguments: str) -> str:
    """A command of this program as it can be typed here: `.venv/bin/darkroom` where it was called
    so or is not on PATH."""
    called = Path(sys.argv[0])
    if called.name != "darkroom":  # python -m darkroom.command.cli
        called = Path(sys.executable).with_name("darkroom")
    found = shutil.which("darkroom")
    if found and os.path.samefile(found, called) and called.is_absolute():
        program = "darkroom"
    else:
        with suppress(ValueError):
            called = called.relative_to(Path.cwd())
        program = str(called)
    return shlex.join([program, *arguments])


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Columns, never cut short: ids are there to be copied."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.print("  ".join(cells).rstrip())
