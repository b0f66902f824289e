"""What there is to do, a row per task; used by all processes, knows neither HTTP nor torch.

A new task is a row here, its request class in request.py, and its function in
worker/making/tasks.py. Everything else that differs from task to task follows from the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_args

from darkroom.request import (
    ClassToImage,
    Edit,
    ImageToImage,
    Inpaint,
    LayoutToImage,
    Request,
    TextToImage,
    Unconditional,
    Upscale,
)


class Size(Enum):
    """Where a picture's size comes from."""

    ASKED = "asked"
    """What the client asks for, else the model's usual size."""
    OF_IMAGE = "of the image"
    """What the client asks for, else the shape of `image` at the model's usual number of pixels."""
    AS_IMAGE = "as the image"
    """What the client asks for, else the size of the first of `images`, as near as the model and
    its limits allow."""
    TIMES_FOUR = "times four"
    """The size of `image` times `UPSCALE`; nothing else can be asked for."""
    MODELS = "the model's"
    """The one size that the model makes; nothing else can be asked for."""


@dataclass(frozen=True)
class Task:
    """One kind of picture that can be asked for."""

    request: type[Request]
    """What a job of it asks for, every value filled in."""
    call: frozenset[str]
    """Arguments that a pipeline's call must have to do it, besides those of `EVERY_CALL`."""
    size: Size
    example: Mapping[str, Any]
    """The body of a job, for documentation and trials. Pictures in it are small but whole. Its
    model is named where the default one does not do the task."""
    pipelines: tuple[str, ...] = ()
    """diffusers classes made for just this task, beside those that AutoPipeline knows."""
    brings: frozenset[str] = frozenset()
    """Fields for which the pipeline's call needs no argument, because Darkroom sees to them."""
    meant_by: frozenset[str] = frozenset()
    """Any of these fields means the task when `task` is left out; of two rows the later counts."""
    stands_for_others: bool = False
    """Whether it is meant as long as no field means another: text-to-image, which with `image` is
    image-to-image."""

    @property
    def name(self) -> str:
        """What clients call it."""
        [name] = get_args(self.request.model_fields["task"].annotation)
        return str(name)

    @property
    def required(self) -> tuple[str, ...]:
        """The fields that a body cannot leave out: all others have a default or are filled in."""
        fields = self.request.model_fields.items()
        return tuple(
            name for name, each in fields if each.is_required() and name not in Request.model_fields
        )


LEADERS = ("image", "controls", "reference_images")
"""Fields whose pictures lead where a prompt is empty."""

EVERY_CALL = frozenset({"num_inference_steps", "generator", "output_type"})
"""Arguments that a pipeline's call must have whatever the task."""

_DISC = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQMAAAAlPW0iAAAABlBMVEX/////AADrWueT"
    "AAAAJklEQVR42mNggAHmA0wsCkwcAkwCHEwMDFD04QfTjw9Mfx7AVQEAdUIG1racT0IAAAAASUVORK5CYII="
)
"""A red disc on white, 16 x 16."""
_RIGHT_HALF = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAEElEQVR42mNg+M/EwEA8"
    "AgAw0gEe0P1L1QAAAABJRU5ErkJggg=="
)
"""A mask whose right half is white, 16 x 16."""

_ROWS = (
    Task(
        request=TextToImage,
        call=frozenset({"prompt"}),
        size=Size.ASKED,
        stands_for_others=True,
        example={"prompt": "a red apple", "num_inference_steps": 20, "seed": 7},
    ),
    Task(
        request=ImageToImage,
        call=frozenset({"prompt", "image", "strength"}),
        size=Size.OF_IMAGE,
        brings=frozenset({"width", "height"}),
        meant_by=frozenset({"image"}),
        example={"prompt": "a green apple", "image": _DISC, "strength": 0.6},
    ),
    Task(
        request=Inpaint,
        call=frozenset({"prompt", "image", "mask_image", "strength"}),
        size=Size.OF_IMAGE,
        brings=frozenset({"width", "height"}),
        meant_by=frozenset({"mask_image", "padding"}),
        example={"prompt": "a green apple", "image": _DISC, "mask_image": _RIGHT_HALF},
    ),
    Task(
        request=Edit,
        call=frozenset({"prompt"}),
        size=Size.AS_IMAGE,
        brings=frozenset({"width", "height"}),
        meant_by=frozenset({"images"}),
        example={"model": "kontext", "prompt": "make the disc blue", "images": [_DISC]},
    ),
    Task(
        request=Upscale,
        call=frozenset({"image"}),
        pipelines=("LDMSuperResolutionPipeline", "StableDiffusionUpscalePipeline"),
        size=Size.TIMES_FOUR,
        example={"model": "emoji-upscale", "image": _DISC},
    ),
    Task(
        request=LayoutToImage,
        call=frozenset({"prompt", "gligen_phrases", "gligen_boxes"}),
        pipelines=("StableDiffusionGLIGENPipeline",),
        size=Size.ASKED,
        meant_by=frozenset({"regions"}),
        example={
            "model": "gligen",
            "prompt": "a cat on a table",
            "regions": [{"phrase": "a cat", "box": [0.25, 0.25, 0.75, 0.75]}],
        },
    ),
    Task(
        request=ClassToImage,
        call=frozenset({"class_labels"}),
        pipelines=("DiTPipeline",),
        size=Size.MODELS,
        meant_by=frozenset({"class_label"}),
        example={"model": "dit", "class_label": 0},
    ),
    Task(
        request=Unconditional,
        call=frozenset({"batch_size"}),
        pipelines=("LDMPipeline",),
        size=Size.MODELS,
        example={"model": "ldm", "seed": 7},
    ),
)

TASKS: Mapping[str, Task] = {task.name: task for task in _ROWS}
"""By the names that clients use."""

FIELDS = frozenset(name for task in _ROWS for name in task.request.model_fields)
"""The fields of all requests."""

LISTS = frozenset(
    name
    for task in _ROWS
    for name, field in task.request.model_fields.items()
    if field.default == ()
)
"""Those that are empty lists where they are left out."""


def meant(given: Mapping[str, Any], offered: Sequence[str]) -> str:
    """The task that the given fields of a body mean, when `task` was left out, on a model that
    offers these tasks. The only task of a model stands for all others: `image` alone means upscale
    on an upscaler, and what its fields do not fit is then said of that task."""
    names = {name for name, value in given.items() if value is not None}
    rows = TASKS.items()
    [*_, task] = (name for name, row in rows if row.stands_for_others or row.meant_by & names)
    return task if task in offered or len(offered) != 1 else offered[0]
