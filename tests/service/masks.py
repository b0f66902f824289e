"""A mask that stays itself under no turning or mirroring, and what a service kept of one."""

import io
from typing import Literal

from PIL import Image

from service.dependencies import Darkroom

CORNER = {(x, y) for x in range(3) for y in range(2)}
"""The pixels of a picture of 8 x 8 that the mask is about."""


def corner_mask(mode: Literal["L", "RGBA"] = "L") -> Image.Image:
    """White, or opaque, in its left upper corner alone."""
    mask = Image.new("L", (8, 8), 0)
    mask.paste(255, (0, 0, 3, 2))
    if mode == "L":
        return mask
    drawn = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    drawn.putalpha(mask)
    return drawn


def corner_png() -> bytes:
    """The file of such a mask."""
    file = io.BytesIO()
    corner_mask().save(file, "PNG")
    return file.getvalue()


def white_in(here: Darkroom, stored: str) -> set[tuple[int, int]]:
    """The white pixels of a stored input of 8 x 8."""
    with here.store.open_input(stored) as file:
        kept = Image.open(file).convert("L")
        return {(x, y) for x in range(8) for y in range(8) if kept.getpixel((x, y)) == 255}
