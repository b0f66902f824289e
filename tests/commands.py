"""Commands as people type them, and what they leave: words and pictures."""

from pathlib import Path

from PIL import Image
from typer.testing import CliRunner, Result

from darkroom.command.cli import app


def invoke(*arguments: str) -> Result:
    """A command in this process: quicker, for what needs neither signals nor children."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


def opened(path: str | Path) -> Image.Image:
    """A picture with its file closed again."""
    with Image.open(path) as image:
        image.load()
    return image


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]
