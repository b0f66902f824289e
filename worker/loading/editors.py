"""Which pipelines edit pictures by an instruction, and how each takes them; worker side, knows no
jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from darkroom.request import MAX_EDITED

ARGUMENTS = ("image", "images", "input_images")
"""What calls name the pictures."""


@dataclass(frozen=True)
class Editor:
    """How a pipeline takes the pictures that it edits."""

    brought: Literal["to its size", "to its pixels", "not"]
    """To what each picture is brought before: to the size of the one that is made, as pipelines
    want it that lay the two on each other; to as many pixels, its shape kept; or to nothing, where
    the pipeline brings it to a size of its own."""
    most: int = 1
    """How many it can work from. A single one is handed on by itself, not in a list."""


EDITORS: Mapping[str, Editor] = {
    "FluxKontextPipeline": Editor("to its pixels"),
    "Flux2KleinPipeline": Editor("to its pixels", MAX_EDITED),
    "Flux2Pipeline": Editor("to its pixels", MAX_EDITED),
    "StableDiffusionInstructPix2PixPipeline": Editor("to its size"),
    "StableDiffusionXLInstructPix2PixPipeline": Editor("to its size"),
}
"""By the class that edits, which models of it are named after, too."""
