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
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from darkroom.command.refusals import told
from darkroom.errors import DarkroomError
from darkroom.text import plain

out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the signal's number."""

LONGEST_TEXT = 80
"""Columns of it where there is no terminal to cut it to."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@contextmanager
def faults() -> Iterator[None]:
    """What goes wrong on purpose ends the program with a sentence and status 1."""
    try:
        yield
    except DarkroomError as error:
        err.print(f"Error: {told(error)}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print("Stopped.")
        raise typer.Exit(INTERRUPTED) from None


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


def print_line(value: Any) -> None:
    """JSON on a line of its own, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Columns, never cut short: ids are there to be copied."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        out.print("  ".join(cells).rstrip())


def print_rows_and_text(rows: Sequence[Sequence[str]]) -> None:
    """The same, with a last column of text, dimmed and cut to the width of the terminal."""
    *_, text = zip(*rows, strict=True)
    rows = [[plain(cell) for cell in row[:-1]] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    room = max(20, out.width - sum(widths) - 2 * len(widths)) if out.is_terminal else LONGEST_TEXT
    for row, words in zip(rows, text, strict=True):
        cells = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        line = Text("  ".join(cells) + "  ")
        line.append(_cut(plain(words), room), style="dim")
        out.print(line, no_wrap=True, overflow="ignore")


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else chop_cells(text, width - 1)[0] + "…"
