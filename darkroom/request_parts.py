"""The objects that fields of requests hold: LoRAs, controls, padding, regions, and what the map of
a control is made of; used by service and worker, knows neither HTTP nor torch."""

from typing import Annotated, Literal

from pydantic import Field

from darkroom.fields import Box, Colour, Fields
from darkroom.text import LINES

MAX_LORA_SCALE = 10.0
MAX_MAP_SIDE = 16_384


class Lora(Fields):
    """A LoRA of the model and how strongly it works."""

    name: str
    """By its name in the model's card."""
    scale: float = Field(1.0, ge=-MAX_LORA_SCALE, le=MAX_LORA_SCALE)
    """1 is as trained, 0 is off."""


class Control(Fields):
    """A picture that a ControlNet holds the result to."""

    name: str
    """The ControlNet, by its name in the model's card."""
    image: str
    """The map, or the picture to make it from: base64, a data URI, `file_<sha256>`,
    `img_...` or, where the operator allows it, an https URL."""
    preprocess: Literal["canny"] | None = None
    """What makes the map from the picture; null: the picture is the map."""
    scale: float = Field(1.0, ge=0.0, le=2.0)
    """How strongly it holds."""
    start: float = Field(0.0, ge=0.0, le=1.0)
    """The share of the steps after which it begins."""
    end: float = Field(1.0, ge=0.0, le=1.0)
    """The share of the steps after which it ends."""


class Padding(Fields):
    """Pixels of new canvas around the input picture, in its own pixels."""

    left: int = Field(0, ge=0, le=4096)
    """Pixels, on the left."""
    top: int = Field(0, ge=0, le=4096)
    """Pixels, above."""
    right: int = Field(0, ge=0, le=4096)
    """Pixels, on the right."""
    bottom: int = Field(0, ge=0, le=4096)
    """Pixels, below."""


class Region(Fields):
    """Something and where it shall be."""

    phrase: Annotated[str, Field(min_length=1, max_length=200), LINES]
    """What."""
    box: Box
    """Left, top, right, bottom as shares of the picture's width and height."""


class Preprocess(Fields):
    """A picture, and what to make of it for a ControlNet."""

    image: str
    """The picture: base64, a data URI, `file_<sha256>` of an earlier input, or `img_...` of a
    finished picture."""
    preprocess: Literal["canny"] = "canny"
    """canny: its edges, white on black."""
    width: Annotated[int, Field(ge=1, le=MAX_MAP_SIDE)] | None = None
    """Pixels of the map, as of the job that it is for; left out with `height`: as the picture."""
    height: Annotated[int, Field(ge=1, le=MAX_MAP_SIDE)] | None = None
    """Pixels."""
    background: Colour = "#ffffff"
    """The colour that shows where the picture is transparent."""
