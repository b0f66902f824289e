"""What a card of models.toml says beside the model itself: defaults, limits, adapters; used by all
processes, knows neither HTTP nor torch."""

import re
from typing import Annotated, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from darkroom import schedulers
from darkroom.families import diffusers_table
from darkroom.schedulers import SchedulerOptions


class Card(BaseModel):
    """Fields that are frozen, and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Defaults(Card):
    """Values for what a client leaves out; null means the model's own."""

    width: int | None = Field(None, ge=8)
    height: int | None = Field(None, ge=8)
    num_inference_steps: int | None = Field(None, ge=1)
    guidance_scale: float | None = Field(None, ge=0)
    negative_prompt: str = ""
    strength: float = Field(0.8, ge=0, le=1)


class Limits(Card):
    """Bounds of what a client may ask."""

    min_size: int = Field(64, ge=8)
    """Pixels, each side."""
    max_size: int = Field(2048, ge=8)
    """Pixels, each side."""
    max_pixels: int = Field(2048 * 2048, ge=64)
    """Width times height."""
    size_multiple: int = Field(8, ge=1)
    """Both sides must be multiples of this, and of what the model itself needs."""
    max_steps: int = Field(150, ge=1)
    """Denoising steps."""
    max_guidance_scale: float = Field(50.0, ge=1)
    """How strongly a prompt may be followed."""
    max_images: int = Field(8, ge=1)
    """Pictures per job."""
    max_prompt_chars: int = Field(4000, ge=1)
    """Characters of a prompt; read in chunks of 75 tokens, of which twenty are the limit."""

    @model_validator(mode="after")
    def _some_size_is_left(self) -> Self:
        if self.min_size > self.max_size or self.min_size**2 > self.max_pixels:
            said = "No size is left: min_size is above max_size, or its square above max_pixels."
            raise PydanticCustomError("malformed", said)
        return self


_Named = TypeVar("_Named", "LoraCard", "ControlNetCard", "StyleCard")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def _well_formed(name: str) -> str:
    if not _NAME.fullmatch(name):
        said = "Must be letters, digits, dots, hyphens and underscores; at most 64, no sign first."
        raise PydanticCustomError("malformed", said)
    return name


_ADDRESS = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#\s]+/[^/?#\s]+)/?")


def _repository(source: str) -> str:
    """The id of a repository whose web address is given."""
    if "://" not in source:
        return source
    if not (found := _ADDRESS.fullmatch(source)):
        said = "Must be a folder, a file or a repository's id, or the address of its first page."
        raise PydanticCustomError("malformed", said)
    return found[1]


Source = Annotated[str, AfterValidator(_repository)]

Name = Annotated[
    str,
    AfterValidator(_well_formed),
    Field(json_schema_extra={"pattern": f"^{_NAME.pattern}$"}),
]


def _scheduler(name: str) -> str:
    known = schedulers.resolve(name)
    if known is None:
        near = schedulers.near(name, schedulers.NAMES)
        hint = f"Did you mean {near}?" if near else f"There are: {', '.join(_SHORT_NAMES)}."
        raise PydanticCustomError("not_one_of", f"There is no noise scheduler of that name. {hint}")
    if known[1] is not None:
        raise PydanticCustomError("not_one_of", "Name sigmas in scheduler_options.")
    return known[0]


def _own_scheduler(name: str) -> str:
    """Also one that a single kind of model has."""
    return name if name in diffusers_table()["schedulers"] else _scheduler(name)


_SHORT_NAMES = [schedulers.short(each) for each in schedulers.NAMES]

Scheduler = Annotated[str, AfterValidator(_own_scheduler)]
"""A noise scheduler by its class in diffusers, which `Euler a` and the like are names for."""


class LoraDefaults(Card):
    """What requests that name a LoRA take for fields that they leave out."""

    scheduler: Annotated[str, AfterValidator(_scheduler)] | None = None
    """The noise scheduler, by its diffusers class name or a usual short name such as `LCM`."""
    scheduler_options: SchedulerOptions = SchedulerOptions()
    """Of that scheduler."""
    num_inference_steps: int | None = Field(None, ge=1)
    """Denoising steps."""
    guidance_scale: float | None = Field(None, ge=0)
    """How strongly to follow the prompt."""


class LoraCard(Card):
    """A LoRA that requests may name."""

    name: Name
    source: str
    """A safetensors file or a folder, relative to models.toml, or a repository id."""
    weight_name: str | None = None
    """The file within the folder or repository, where there are several."""
    licence: str | None = None
    defaults: LoraDefaults = LoraDefaults()
    """What it was trained for, such as few steps of LCM: taken for what a request leaves out that
    names it."""


class ControlNetCard(Card):
    """A ControlNet that requests may name."""

    name: Name
    source: str
    """A diffusers folder or, for a UNet, a safetensors file, relative to models.toml, or a
    repository id."""
    revision: str | None = None
    variant: str | None = None
    licence: str | None = None


class EmbeddingCard(Card):
    """A textual inversion: a word of its own in prompts."""

    token: str = Field(min_length=1, max_length=64)
    """The word, such as `<my-cat>`."""
    source: str
    """A safetensors file or a folder, relative to models.toml, or a repository id."""
    weight_name: str | None = None


class IPAdapterCard(Card):
    """An IP-Adapter, for `reference_images`."""

    source: str
    """A folder, relative to models.toml, or a repository id."""
    subfolder: str = ""
    weight_name: str
    """The safetensors file."""
    image_encoder: str | None = None
    """The folder of its image encoder within the source, where the model has none."""


PROMPT = "{prompt}"
"""Where the prompt of a request stands in that of a style."""


class StyleCard(Card):
    """Words that a request can have put around its prompts."""

    name: Name
    """What requests call it."""
    prompt: str = Field(max_length=2000)
    """What becomes of the request's prompt, which stands in it as `{prompt}`."""
    negative_prompt: str = Field("", max_length=2000)
    """Added to the request's own, with a comma."""

    @field_validator("prompt")
    @classmethod
    def _has_a_place(cls, prompt: str) -> str:
        if PROMPT not in prompt:
            raise PydanticCustomError("malformed", "Must hold {prompt}, where the prompt stands.")
        return prompt


class SafetyCard(Card):
    """A checker that withholds pictures."""

    source: str
    """Stable Diffusion's safety checker or an image classifier: a folder, relative to models.toml,
    or a repository id."""
    labels: tuple[str, ...] = ("nsfw",)
    """The classifier's labels that withhold a picture."""
    threshold: float = Field(0.5, gt=0, le=1)
    """From which probability on."""


def named_once(cards: tuple[_Named, ...]) -> tuple[_Named, ...]:
    """Whether no two have the same name."""
    names = [card.name for card in cards]
    if twice := {name for name in names if names.count(name) > 1}:
        said = f"Each name may stand for one of them: {', '.join(sorted(twice))}."
        raise PydanticCustomError("duplicate", said)
    return cards
