"""Which pipelines edit pictures by an instruction, and how each takes them; worker side, knows no
jobs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from darkroom.request import MAX_EDITED

ARGUMENTS = ("image", "images", "input_images")
"""What calls name the pictures."""
IMAGE_GUIDANCE = frozenset({"image_guidance_scale", "img_guidance_scale"})
"""What calls name the scale of guidance by the pictures."""


@dataclass(frozen=True)
class Editor:
    """How a pipeline takes the pictures that it edits."""

    brought: Literal["to its size", "to its pixels", "not"]
    """To what each picture is brought before: to the size of the one that is made, as pipelines
    want it that lay the two on each other; to as many pixels, its shape kept; or to nothing, where
    the pipeline brings it to a size of its own."""
    most: int = 1
    """How many it can work from. A single one is handed on by itself, not in a list."""
    says: Callable[[str, int], str] | None = None
    """What its call wants in place of the prompt, beside so many pictures."""
    inpaints: bool = False
    """Whether what inpaints with the same weights follows instructions, too: then it does the edits
    of one picture that have a mask. Else the mask is laid over what is made."""
    transparent: bool = False
    """Whether it works with pictures that can be transparent, and makes several layers of one."""


def with_marks(prompt: str, count: int) -> str:
    """The prompt with a mark for each picture, where the picture is read (OmniGen). Those that the
    prompt does not have itself lead it."""
    marks = [f"<img><|image_{number}|></img>" for number in range(1, count + 1)]
    missing = [mark for mark in marks if mark not in prompt]
    return " ".join([*missing, prompt])


def as_json(prompt: str, _: int = 1) -> str:
    """The prompt, if it is an edit as JSON that Bria Fibo Edit takes; else such JSON with nothing
    but the prompt as the instruction."""
    return prompt if is_edit(prompt) else json.dumps({"edit_instruction": prompt})


def is_edit(prompt: str) -> bool:
    """Whether a prompt is JSON that has an `edit_instruction`."""
    try:
        read = json.loads(prompt)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) and "edit_instruction" in read


EDITORS: Mapping[str, Editor] = {
    "FluxKontextPipeline": Editor("to its pixels", inpaints=True),
    "Flux2KleinPipeline": Editor("to its pixels", MAX_EDITED, inpaints=True),
    "Flux2Pipeline": Editor("to its pixels", MAX_EDITED),
    "QwenImageEditPipeline": Editor("not", inpaints=True),
    "QwenImageEditPlusPipeline": Editor("not", MAX_EDITED),
    "QwenImageLayeredPipeline": Editor("to its size", transparent=True),
    "LongCatImageEditPipeline": Editor("to its size"),
    "Kandinsky5I2IPipeline": Editor("to its size"),
    "BriaFiboEditPipeline": Editor("not", MAX_EDITED, says=as_json),
    "ZImageOmniPipeline": Editor("to its pixels", MAX_EDITED),
    "OmniGenPipeline": Editor("not", MAX_EDITED, says=with_marks),
    "StableDiffusionInstructPix2PixPipeline": Editor("to its size"),
    "StableDiffusionXLInstructPix2PixPipeline": Editor("to its size"),
}
"""By the class that edits, which models of it are named after, too."""
