"""What a job asks for, a class per task; used by service and worker, knows neither HTTP nor torch.

A request class states the fields of one task with every value filled in: that is what a job keeps
and what a worker reads. A field says on itself what it needs of a model, and has a default that
changes nothing where a model need not have it. Which task has which class is in tasks.py; what
clients may leave out, and the bounds that depend on the model, are in forms.py.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from darkroom.fields import Colour, Fields, Fraction, at_most
from darkroom.hires import Hires
from darkroom.request_parts import Control, Lora, Padding, Region
from darkroom.schedulers import SchedulerOptions
from darkroom.text import Text

MAX_SEED = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

UPSCALE = 4
"""How many times larger on each side the upscalers make a picture."""


@dataclass(frozen=True)
class Argument:
    """What a field needs of a model: that its pipeline's call has this argument."""

    name: str


@dataclass(frozen=True)
class Adapter:
    """What a field needs of a model: adapters of this kind, and a pipeline that takes them."""

    kind: Literal["loras", "controlnets", "reference"]


@dataclass(frozen=True)
class Besides:
    """What a field needs of a model: that it does this task, too."""

    task: str


Need = Argument | Adapter | Besides

PictureFormat = Literal["png", "jpeg", "webp"]
MetadataLevel = Literal["full", "minimal", "none"]
"""How much a picture says of itself; the one that tells most first."""

MAX_LORAS = 8
MAX_CONTROLS = 4
MAX_EDITED = 16
"""Pictures that one edit can work from."""
MAX_LAYERS = 8
"""Transparent pictures that a picture can be taken apart into."""


class Output(Fields):
    """How pictures are written."""

    format: PictureFormat = "png"
    """png keeps every bit."""
    quality: int = Field(90, ge=1, le=100)
    """Of jpeg and webp, which lose something at 100 too; from 90 on a jpeg keeps colour in full
    resolution. png ignores it."""
    metadata: MetadataLevel = "full"
    """What a picture says of itself. full: the whole request, prompt included, which makes it
    again; minimal: software, model, seed and that a model made it; none: nothing. The operator
    may allow less."""


class Request(Fields):
    """Fields that every task has."""

    task: str
    """What to do."""
    model: str = Field(max_length=200)
    """A model's name or alias; `GET /api/v1/models` lists them."""
    width: Annotated[int, Argument("width")]
    """Pixels."""
    height: Annotated[int, Argument("height")]
    """Pixels."""
    num_inference_steps: int
    """Denoising steps; more take longer and are often better, up to a point."""
    scheduler: str
    """The noise scheduler, by its diffusers class name or a usual short name such as `Euler a`."""
    scheduler_options: SchedulerOptions = SchedulerOptions()
    """How the noise scheduler lays out its steps."""
    seed: int = Field(ge=0, le=MAX_SEED)
    """Where the noise starts from; picture i of a job uses seed + i. Drawn if left out or -1."""
    num_images: int
    """How many pictures to make."""
    output: Output = Output()
    """How the pictures are written."""
    deterministic: bool = False
    """Compute apart from other jobs and picture by picture, so that the same request gives the
    same bits again on the same kind of device. Costs throughput: nothing is shared."""


class Prompted(Request):
    """Fields of all tasks that follow a prompt."""

    prompt: Annotated[Text, Argument("prompt")]
    """What the picture shows. `(word:1.2)` and `[word]` weigh words where the model can, and
    `<lora:name:0.8>` asks for a LoRA; may be empty where a picture leads."""
    negative_prompt: Annotated[Text, Argument("negative_prompt")] = ""
    """What it should not show; it stands in for the empty prompt of classifier-free guidance."""
    guidance_scale: Annotated[float, Argument("guidance_scale")] = 1.0
    """How strongly to follow the prompt; 1 and less switch guidance off, 7 to 9 is usual."""
    guidance_rescale: Annotated[Fraction, Argument("guidance_rescale")] = 0.0
    """Counters the over-exposure of strong guidance (arXiv 2305.08891, section 3.4)."""
    clip_skip: Annotated[int, Field(ge=0, le=12), Argument("clip_skip")] = 0
    """How many of the text encoder's last layers to leave out."""
    loras: Annotated[
        tuple[Lora, ...],
        Field(strict=False, max_length=MAX_LORAS),
        at_most(MAX_LORAS),
        Adapter("loras"),
    ] = ()
    """LoRAs of the model to use together."""
    reference_images: Annotated[
        tuple[str, ...], Field(strict=False, max_length=4), at_most(4), Adapter("reference")
    ] = ()
    """Pictures whose style or subject to follow (IP-Adapter)."""
    reference_scale: Annotated[Fraction, Adapter("reference")] = 0.6
    """How strongly to follow them."""


class Controlled(Prompted):
    """Fields of all tasks that ControlNets can take part in."""

    controls: Annotated[
        tuple[Control, ...],
        Field(strict=False, max_length=MAX_CONTROLS),
        at_most(MAX_CONTROLS),
        Adapter("controlnets"),
    ] = ()
    """Pictures that hold the result to edges, poses, depth and the like (ControlNet)."""


class FromImage(Controlled):
    """Fields of all tasks that begin with a picture."""

    prompt: Annotated[Text, Argument("prompt")] = ""
    """What the picture shows; see text-to-image. May be left out."""
    image: str
    """The picture to start from: base64, a data URI, `file_<sha256>` of an earlier input, `img_...`
    of a finished picture or, where the operator allows it, an https URL."""
    background: Colour = "#ffffff"
    """The colour that shows where pictures of the request are transparent."""
    strength: Annotated[Fraction, Argument("strength")] = 1.0
    """0 keeps the original, 1 makes all new; `num_inference_steps * strength` steps are made."""


class TextToImage(Controlled):
    """A picture from a prompt."""

    task: Literal["text-to-image"]
    """What to do."""
    hires: Annotated[Hires | None, Besides("image-to-image")] = None
    """Makes the picture larger once it is made, and goes on from there."""


class ImageToImage(FromImage):
    """A picture from a prompt and a picture to start from."""

    task: Literal["image-to-image"]
    """What to do."""


class Inpaint(FromImage):
    """A picture in which a part is painted anew, or that is continued beyond its edges."""

    task: Literal["inpaint"]
    """What to do."""
    mask_image: str | None = None
    """White where to repaint, black where to keep, of any size; or a picture with a transparent
    hole where to repaint. May be left out where `padding` is given."""
    mask_blur: int = Field(4, ge=0, le=256)
    """Pixels by which the mask's edge is softened. Beyond it the original is kept exactly."""
    padding_mask_crop: int | None = Field(None, ge=0, le=4096)
    """Make only the part around what is repainted, with so many pixels of the picture around it, at
    `width` x `height`, and put it back into the picture, which keeps its size. Null: make all."""
    padding: Padding = Padding()
    """New canvas around the picture, to be filled."""


class Edit(Prompted):
    """A picture made from others by an instruction."""

    task: Literal["edit"]
    """What to do."""
    prompt: Annotated[Text, Argument("prompt")]
    """What to change; see text-to-image."""
    images: Annotated[
        tuple[str, ...],
        Field(strict=False, min_length=1, max_length=MAX_EDITED),
        at_most(MAX_EDITED),
    ]
    """The pictures to work from, the one to change first; each as `image`. A job's own `images` are
    its results."""
    background: Colour = "#ffffff"
    """The colour that shows where pictures of the request are transparent."""
    mask_image: str | None = None
    """White where the first picture may change, black where it stays exactly as it is."""
    mask_blur: int = Field(4, ge=0, le=256)
    """Pixels by which the mask's edge is softened."""
    image_guidance_scale: Annotated[
        float | None, Field(ge=1, le=20), Argument("image_guidance_scale")
    ] = None
    """How strongly to follow the pictures, beside the prompt; null is as the model's pipeline has
    it."""
    layers: Annotated[int | None, Field(ge=1, le=MAX_LAYERS), Argument("layers")] = None
    """Into how many transparent pictures to take the picture apart; null is as the model's pipeline
    has it."""


class Upscale(Request):
    """A picture four times larger on each side."""

    task: Literal["upscale"]
    """What to do."""
    image: str
    """The small picture: base64, a data URI, `file_<sha256>` of an earlier input, or `img_...` of a
    finished picture."""
    background: Colour = "#ffffff"
    """The colour that shows where it is transparent."""
    prompt: Annotated[Text, Argument("prompt")] = ""
    """What the picture shows; helps some models."""
    negative_prompt: Annotated[Text, Argument("negative_prompt")] = ""
    """What it should not show."""
    guidance_scale: Annotated[float, Argument("guidance_scale")] = 1.0
    """How strongly to follow the prompt."""
    noise_level: Annotated[int, Field(ge=0, le=350), Argument("noise_level")] = 20
    """How much noise to add to the small picture; more gives the model more freedom."""


class LayoutToImage(Prompted):
    """A picture from a prompt and what shall be where (GLIGEN)."""

    task: Literal["layout-to-image"]
    """What to do."""
    regions: Annotated[
        tuple[Region, ...], Field(strict=False, min_length=1, max_length=30), at_most(30)
    ]
    """What shall be where."""


class ClassToImage(Request):
    """A picture of a class that the model was trained on."""

    task: Literal["class-to-image"]
    """What to do."""
    class_label: int = Field(ge=0)
    """The class, by its number."""
    guidance_scale: Annotated[float, Argument("guidance_scale")] = 1.0
    """How strongly to follow the class."""


class Unconditional(Request):
    """A picture from nothing but noise."""

    task: Literal["unconditional"]
    """What to do."""


def needs(cls: type[Request]) -> dict[str, Need | None]:
    """For each field of a request class what it needs of a model; None if it is taken by all that
    do the task."""
    return {
        name: next((each for each in field.metadata if isinstance(each, Need)), None)
        for name, field in cls.model_fields.items()
    }
