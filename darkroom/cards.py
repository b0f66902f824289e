"""What a card of models.toml says beside the model itself: defaults, limits, adapters; used by all
processes, knows neither HTTP nor torch."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from darkroom import schedulers
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


_Adapter = TypeVar("_Adapter", "LoraCard", "ControlNetCard")

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

Name = Annotated[str, AfterValidator(_well_formed)]


def _scheduler(name: str) -> str:
    known = schedulers.resolve(name)
    if known is None:
        raise PydanticCustomError("not_one_of", "There is no noise scheduler of that name.")
    if known[1] is not None:
        raise PydanticCustomError("not_one_of", "Name sigmas in scheduler_options.")
    return known[0]


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


class SafetyCard(Card):
    """A checker that withholds pictures."""

    source: str
    """Stable Diffusion's safety checker or an image classifier: a folder, relative to models.toml,
    or a repository id."""
    labels: tuple[str, ...] = ("nsfw",)
    """The classifier's labels that withhold a picture."""
    threshold: float = Field(0.5, gt=0, le=1)
    """From which probability on."""


def named_once(adapters: tuple[_Adapter, ...]) -> tuple[_Adapter, ...]:
    """Whether no two have the same name."""
    names = [adapter.name for adapter in adapters]
    if twice := {name for name in names if names.count(name) > 1}:
        said = f"Each name may stand for one of them: {', '.join(sorted(twice))}."
        raise PydanticCustomError("duplicate", said)
    return adapters


def with_new(
    kind: str,
    found: tuple[str, ...],
    named: Sequence[LoraCard | ControlNetCard],
    faults: Mapping[str, str],
) -> tuple[str, ...]:
    """The adapters that a worker found to work, and those that a card names since: for them a
    worker loads the model anew. `faults` are those of the model's record."""
    new = (each.name for each in named if f"{kind}:{each.name}" not in faults)
    return tuple(dict.fromkeys((*found, *new)))
