"""The cards of models.toml: what an operator says of each model; used by all processes, knows
neither HTTP nor torch."""

import difflib
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from darkroom import single_files
from darkroom.cards import (
    Card,
    ControlNetCard,
    Defaults,
    EmbeddingCard,
    IPAdapterCard,
    Limits,
    LoraCard,
    Name,
    SafetyCard,
    Source,
    named_once,
)
from darkroom.errors import DarkroomError, FieldError, ModelLoadError, ModelNotFoundError
from darkroom.field_errors import field_errors
from darkroom.lora_folder import LoraFolder
from darkroom.model_files import CONFIG, INDEX, ModelFiles, PartFiles, cached_folder, snapshot
from darkroom.vocabulary import Vocabulary


class ModelsFileError(DarkroomError):
    """models.toml cannot be read; the message names the entry and the field."""

    code = "models_file"


class ModelCard(Card):
    """One entry of models.toml."""

    name: Name
    """What clients name it by; also the name of its queues."""
    aliases: tuple[str, ...] = ()
    """Other names that clients may use."""
    source: Source
    """A folder as diffusers writes it or a checkpoint in a single safetensors file, relative to
    models.toml, or a Hugging Face repository id."""
    config: str | None = None
    """For a single file of a family that is not known: a folder or repository of the same family,
    which says what the file leaves out."""
    transformer: str | None = None
    """A safetensors file with another network (transformer or UNet) for the folder of `source`."""
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    """What the network was trained to predict; null: what the files say."""
    revision: str | None = None
    """A commit of the repository; pin it."""
    variant: str | None = None
    """Such as fp16: which of the repository's weight files to read."""
    dtype: Literal["auto", "float32", "float16", "bfloat16", "float64"] = "auto"
    """auto: bfloat16 on CUDA, float32 on CPU."""
    scheduler: str | None = None
    """The noise scheduler to use by default, by diffusers class name; null: the model's own."""
    tasks: tuple[str, ...] = ()
    """Which tasks to offer; empty: all that the model can do."""
    licence: str | None = None
    """Shown to clients with the model."""
    vocabulary: str | None = None
    """A file of what the model can draw, relative to models.toml: a thing a line, its other names
    behind bars, lines of words that go with things behind +. Clients see it, and are told of
    prompts beyond it; for models that were taught little."""
    examples: tuple[str, ...] = ()
    """Prompts that the model draws well, shown to clients."""
    defaults: Defaults = Defaults()
    """What is taken for fields that a client leaves out, where it is not the model's own."""
    limits: Limits = Limits()
    """Bounds of what a client may ask."""
    max_jobs: int | None = Field(None, ge=1)
    """How many jobs may share a pass; null: the worker's setting."""
    loras: Annotated[tuple[LoraCard, ...], AfterValidator(named_once)] = ()
    """LoRAs that requests may name."""
    controlnets: Annotated[tuple[ControlNetCard, ...], AfterValidator(named_once)] = ()
    """ControlNets that requests may name."""
    embeddings: tuple[EmbeddingCard, ...] = ()
    """Textual inversions: words of their own in prompts."""
    ip_adapter: IPAdapterCard | None = None
    """An IP-Adapter, for `reference_images`."""
    vae: str | None = None
    """A VAE in place of the model's own: a folder or a safetensors file, relative to models.toml,
    or a repository id."""
    text_encoders: bool = True
    """false leaves out text encoders that the model can do without (SD 3's T5)."""
    offload: Literal["none", "model"] = "none"
    """model: each part is on the device only while it works; slower, one job at a time."""
    compile: bool = False
    """Compile the denoising network with torch.compile: a slow start, faster steps."""
    attention: str | None = None
    """diffusers' attention backend; null: torch's own."""
    vae_slicing: bool = False
    """Decode pictures one by one."""
    vae_tiling: bool = False
    """Decode pictures in tiles: far less memory, faint seams."""
    warmup: bool = False
    """Make a picture at load, so that the first job finds everything ready."""
    pinned: bool = False
    """Never leaves memory once it is loaded."""
    safety: SafetyCard | None = None
    """Withhold pictures that a checker finds; null: nothing is checked."""

    @model_validator(mode="after")
    def _agrees_with_its_limits(self) -> Self:
        limits = self.limits
        most = (
            ("num_inference_steps", limits.max_steps),
            ("guidance_scale", limits.max_guidance_scale),
        )
        for lora, (name, limit) in itertools.product(self.loras, most):
            if (getattr(lora.defaults, name) or 0) > limit:
                said = f"The {name} of its LoRA {lora.name!r} is beyond its limits: {limit:g}."
                raise PydanticCustomError("out_of_range", said)
        return self


class _ModelsFile(Card):
    """All of models.toml."""

    models: tuple[ModelCard, ...] = ()
    default: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [name for card in self.models for name in (card.name, *card.aliases)]
        sources = [card.source for card in self.models]
        if not names:
            raise PydanticCustomError("too_few", "It has no [[models]] entry.")
        if twice := {name for name in names if names.count(name) > 1}:
            said = f"Each name may stand for one model: {', '.join(sorted(twice))}."
            raise PydanticCustomError("duplicate", said)
        if self.default is not None and self.default not in names + sources:
            said = f"The default {self.default!r} is none of its models: {', '.join(names)}."
            raise PydanticCustomError("not_one_of", said)
        return self


class Catalog:
    """The cards of models.toml, found by name or alias."""

    def __init__(
        self,
        cards: list[ModelCard],
        default: str,
        root: Path,
        vocabularies: Mapping[str, Vocabulary] | None = None,
        uploads: LoraFolder | None = None,
    ) -> None:
        self.cards = {card.name: card for card in cards}
        self.root = root
        self.vocabularies = vocabularies or {}
        """What models can draw, by their names; those without one draw anything."""
        self.uploads = uploads
        """Where clients put LoRAs beside those of the cards; None: they may not."""
        self._names = {name: card for card in cards for name in (card.name, *card.aliases)}
        self._names |= {card.source: card for card in cards if card.source not in self._names}
        self.default = self._names[default].name

    @classmethod
    def read(cls, path: Path) -> "Catalog":
        """Read models.toml. Raises ModelsFileError, which tells all faults of the file at once."""
        return cls.parse(_text(path), path)

    @classmethod
    def parse(cls, text: str, path: Path) -> "Catalog":
        """The same of what stands in `path`, or is about to. Raises ModelsFileError."""
        content = _content(text, path)
        try:
            file = _ModelsFile.model_validate(content)
        except ValidationError as error:
            faults = (_fault(each, content) for each in field_errors(error, _ModelsFile))
            raise ModelsFileError(f"{path}: {' '.join(faults)}") from error
        vocabularies = dict(_vocabularies(file.models, path))
        default = file.default or file.models[0].name
        return cls(list(file.models), default, path.parent, vocabularies)

    def find(self, name: str | None) -> ModelCard:
        """The card called `name`, by name, alias or source; the default for None.

        Raises ModelNotFoundError, which holds near matches."""
        if name is None:
            return self.cards[self.default]
        if card := self._names.get(name):
            return card
        raise ModelNotFoundError(name, difflib.get_close_matches(name, self._names, 3, 0.5))

    def has(self, name: str) -> bool:
        return name in self._names

    def names(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The names of the models asked for by name or alias; of all, if none is.

        Raises ModelNotFoundError, which lists those there are."""
        try:
            return tuple(self.find(name).name for name in asked) or tuple(self.cards)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(error.name, error.near, tuple(self.cards)) from None

    def files(self, card: ModelCard) -> ModelFiles | None:
        """The model's files on this machine: a folder, a single file, or a repository that was
        pulled. None if they cannot be used: a worker says why."""
        try:
            return single_files.files_of(card, self.locate, self._folder)
        except ModelLoadError:
            return None

    def vae_files(self, card: ModelCard) -> PartFiles | None:
        """The same of the VAE that takes the place of the model's own, where the card names one."""
        if card.vae is None or (files := self.files(card)) is None:
            return None
        try:
            folder = partial(self._folder, landmark=CONFIG)
            return single_files.vae_of(card.vae, files.part("vae"), self.locate, folder)
        except ModelLoadError:
            return None

    def _folder(self, source: str, revision: str | None = None, landmark: str = INDEX) -> Path:
        """The folder of a source. Raises ModelLoadError."""
        if folder := self.locate(source) or cached_folder(source, revision, landmark):
            return folder
        raise ModelLoadError(f"{source} is not on this machine")

    def locate(self, source: str) -> Path | None:
        """The file or folder that a source names, or None for a repository id."""
        try:
            path = snapshot((self.root / Path(source).expanduser()).resolve())
            return path if path.exists() else None
        except (OSError, RuntimeError, ValueError):  # links in a circle, names that no file has
            return None


def _vocabularies(cards: Sequence[ModelCard], path: Path) -> Iterator[tuple[str, Vocabulary]]:
    """Raises ModelsFileError."""
    for card in cards:
        if card.vocabulary is not None:
            try:
                yield card.name, Vocabulary.read(path.parent / card.vocabulary)
            except (OSError, ValueError) as error:
                said = f"the vocabulary {card.vocabulary} of {card.name!r} cannot be read: {error}"
                raise ModelsFileError(f"{path}: {said}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ModelsFileError(
            f"There is no file {path}. Name the one that lists your models: --models FILE or "
            "DARKROOM_MODELS; docs/models.md says what is in it."
        ) from error
    except OSError as error:
        raise ModelsFileError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ModelsFileError(f"{path} is no text in UTF-8.") from error


def _content(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelsFileError(f"{path} is no TOML: {error}.") from error


def _fault(error: FieldError, content: Mapping[str, Any]) -> str:
    """A sentence, with the model's name in place of its number."""
    path = error.pointer.strip("/").split("/")
    if path[0] == "models" and len(path) > 1:
        entry = content["models"][int(path[1])]
        name = entry.get("name") if isinstance(entry, dict) else None
        which = f"model {name!r}" if isinstance(name, str) else f"model number {int(path[1]) + 1}"
        path = [which, *([".".join(path[2:])] if path[2:] else [])]
    where = ", ".join(filter(None, path))
    return f"{where}: {error.detail}" if where else error.detail
