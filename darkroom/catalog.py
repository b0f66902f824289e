"""The cards of models.toml, found by name; used by all processes, knows neither HTTP nor torch."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from darkroom import single_files
from darkroom.cards import Card, StyleCard, named_once
from darkroom.errors import FieldError, ModelLoadError, ModelNotFoundError
from darkroom.field_errors import field_errors
from darkroom.lora_folder import LoraFolder
from darkroom.model_card import ModelCard
from darkroom.model_files import CONFIG, INDEX, ModelFiles, PartFiles, cached_folder, snapshot
from darkroom.models_text import ModelsFileError, text_of
from darkroom.vocabulary import Vocabulary


class _ModelsFile(Card):
    """All of models.toml."""

    models: tuple[ModelCard, ...] = ()
    default: str | None = None
    aliases: dict[str, str] = Field({})
    styles: Annotated[tuple[StyleCard, ...], AfterValidator(named_once)] = ()

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
        for alias, to in self.aliases.items():
            if not {to, to.partition("+")[0]} & {"", *names, *sources}:
                said = f"The alias {alias!r} stands for {to!r}, which is none of its models."
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
        aliases: Mapping[str, str] | None = None,
        styles: tuple[StyleCard, ...] = (),
    ) -> None:
        self.cards = {card.name: card for card in cards}
        self.root = root
        self.vocabularies = vocabularies or {}
        """What models can draw, by their names; those without one draw anything."""
        self.uploads = uploads
        """Where clients put LoRAs beside those of the cards; None: they may not."""
        self.aliases = aliases or {}
        """The table of aliases, which foreign_names.py reads."""
        self.styles = styles
        self._names = {name: card for card in cards for name in (card.name, *card.aliases)}
        self._names |= {card.source: card for card in cards if card.source not in self._names}
        self.default = self._names[default].name

    @classmethod
    def read(cls, path: Path) -> "Catalog":
        """Read models.toml. Raises ModelsFileError, which tells all faults of the file at once."""
        return cls.parse(text_of(path), path)

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
        told = vocabularies, None, file.aliases, file.styles
        return cls(list(file.models), default, path.parent, *told)

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
