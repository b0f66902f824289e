"""Decides what becomes of a find in models.toml and writes it there; command line, loads none."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from darkroom.catalog import Catalog
from darkroom.command import card_defaults, finds, models_file
from darkroom.command.card_names import clean, free
from darkroom.command.examining import examined
from darkroom.command.finds import MODEL, Find
from darkroom.command.presets import FAMILIES, PRESETS, title
from darkroom.errors import DarkroomError, ModelLoadError
from darkroom.file_families import fits
from darkroom.model_card import ModelCard
from darkroom.model_families import family_of
from darkroom.offers import offer


class AddError(DarkroomError):
    """Something cannot be added to models.toml; the message says why and what to do."""

    code = "add"


@dataclass(frozen=True)
class Wishes:
    """What the operator said besides the path."""

    path: Path
    """models.toml."""
    name: str | None = None
    to: tuple[str, ...] = ()
    """Models that an adapter is for."""
    base: str | None = None
    """A folder or repository with the parts that a file lacks."""
    dry_run: bool = False


@dataclass(frozen=True)
class Added:
    """What was done."""

    name: str
    find: Find
    models: tuple[str, ...] = ()
    """Those that got an adapter."""
    is_new: bool = True
    text: str = ""
    """All of models.toml."""
    notes: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        if not self.is_new:
            return f"{self.name} is in models.toml already"
        size = f", {self.find.size / 2**30:.2f} GiB" if self.find.size else ""
        to = f", for {', '.join(self.models)}" if self.models else ""
        return f"{self.name}: {self.find.words}{size}{to}"


def add(find: Find, wishes: Wishes, *, everywhere: bool = False) -> Added:
    """Add a find to models.toml, as a model or to models of its family; to all of those if
    `everywhere`, else there may be one. Raises DarkroomError, and has then written nothing."""
    catalog = Catalog.read(wishes.path)
    if find.is_model:
        return _add_model(find, wishes, catalog)
    models = _models_for(find, wishes, catalog, everywhere=everywhere)
    return _add_to(find, models, wishes, catalog)


def add_all(folder: Path, wishes: Wishes) -> Iterator[tuple[Path, Added | DarkroomError]]:
    """Add what can be used of a folder of loose files, models first, and say of all else why not.
    Raises ModelsFileError."""
    found: list[tuple[Path, Find]] = []
    for place in finds.loose(folder):
        try:
            found.append((place, finds.at(place)))
        except ModelLoadError as error:
            yield place, error
    for place, find in sorted(found, key=lambda each: not each[1].is_model):
        try:
            yield place, add(find, wishes, everywhere=True)
        except DarkroomError as error:
            yield place, error


def _add_model(find: Find, wishes: Wishes, catalog: Catalog) -> Added:
    source = _written(find.source, catalog.root)
    if listed := next(_listed(catalog, source), None):
        if wishes.name not in (None, listed):
            raise AddError(f"It is in models.toml already, as {listed!r}: see its card's aliases")
        return Added(listed, find, is_new=False)
    taken = [name for card in catalog.cards.values() for name in (card.name, *card.aliases)]
    name = wishes.name or _name(find, taken)
    card: dict[str, Any] = {"name": name, **_parts(find, source, wishes, catalog)}
    preset = next((each for each in PRESETS.values() if each.source == find.source), None)
    if find.revision:
        card["revision"] = find.revision
    comments = [f"{find.words[0].upper()}{find.words[1:]}, added by `darkroom models add`."]
    if preset:
        card |= {**preset.card, "licence": preset.licence}
    else:
        usual, comment = card_defaults.of_model(find)
        card |= usual
        comments += comment
    edit = partial(models_file.with_card, card=card, comments=tuple(comments))
    text, after = models_file.preview(wishes.path, edit)
    notes = examined(after, after.cards[name])
    if find.unread:
        parts = ", ".join(find.unread).replace("_", " ")
        notes = (*notes, f"the file's own {parts} are not read: those of {card['source']} are used")
    if preset and preset.terms:
        notes = (*notes, f"{preset.source}: {preset.terms}")
    _write(wishes, edit)
    return Added(name, find, text=text, notes=notes)


def _parts(find: Find, source: str, wishes: Wishes, catalog: Catalog) -> dict[str, Any]:
    """The fields that say where the files of a model are."""
    base = wishes.base or (None if find.field == MODEL else _base(find, catalog))
    place = Path(base or "").expanduser()
    written = _written(str(place), catalog.root) if base and place.exists() else base
    if find.field == MODEL:
        is_file = find.size is not None
        return {"source": source, **({"config": written} if written and is_file else {})}
    if base is None:
        raise AddError(
            f"{find.stem} is {find.words}: name a folder or repository that has them with --base"
        )
    return {"source": written, "transformer": source}


def _base(find: Find, catalog: Catalog) -> str | None:
    """Where the other parts of a network are: with a model of the same family that is listed, or
    in a repository of the family's authors."""
    for card in catalog.cards.values():
        place = catalog.locate(card.source)
        if place is None or place.is_dir():
            family = family_of(catalog, card)
            if family and fits(find.families, family):
                return card.source
    known = FAMILIES.get(find.families[0]) if find.families else None
    return known.base or None if known else None


def _models_for(
    find: Find, wishes: Wishes, catalog: Catalog, *, everywhere: bool
) -> list[ModelCard]:
    """The models that an adapter goes to. Raises AddError, ModelNotFoundError."""
    families = {card.name: family_of(catalog, card) for card in catalog.cards.values()}
    if wishes.to:
        cards = [catalog.cards[name] for name in catalog.names(wishes.to)]
        for card in cards:
            family = families[card.name]
            if find.families and family and not fits(find.families, family):
                raise AddError(
                    f"{find.stem} is {find.words}, and does not fit {card.name}, which is "
                    f"{title(family)}"
                )
            if not _takes(card, find, catalog):
                raise AddError(f"{card.name} takes no LoRAs")
        return cards
    able = [name for name, family in families.items() if fits(find.families, family)]
    fitting = [each for each in map(catalog.cards.__getitem__, able) if _takes(each, find, catalog)]
    if not find.families:
        raise AddError(f"{find.stem} is {find.words} of no family that is known: --to MODEL")
    if not fitting:
        raise AddError(
            f"{find.stem} is {find.words}, and no model of models.toml is known to be one: add "
            "such a model first, or name one with --to"
        )
    names = ", ".join(card.name for card in fitting)
    if find.field == "vae" and everywhere:
        raise AddError(f"{find.stem} is {find.words}: name the model that is to use it with --to")
    if len(fitting) > 1 and not everywhere:
        raise AddError(f"{find.stem} is {find.words}, and several fit: --to {names}")
    return fitting


def _takes(card: ModelCard, find: Find, catalog: Catalog) -> bool:
    """Whether the class of a model's pipeline takes what was found, where that is known."""
    return find.field != "loras" or offer(catalog, card, None).takes_loras


def _add_to(find: Find, models: Sequence[ModelCard], wishes: Wishes, catalog: Catalog) -> Added:
    """Put an adapter into the cards of models."""
    source = _written(find.source, catalog.root)
    edits: list[Callable[[str], str]] = []
    name = wishes.name or clean(find.stem, "adapter")
    for card in models:
        if find.field == "vae":
            if card.vae is not None:
                raise AddError(
                    f"{card.name} has a VAE of its own: take `vae` out of its card first"
                )
            edits.append(partial(models_file.with_field, name=card.name, field="vae", value=source))
            continue
        there = getattr(card, find.field)
        if any(each.source == source for each in there):
            continue
        key = "token" if find.field == "embeddings" else "name"
        own = wishes.name or (re.sub(r"\s", "_", find.stem)[:64] if key == "token" else name)
        own = free(own, [getattr(each, key) for each in there])
        entry: dict[str, Any] = {key: own, "source": source}
        if find.field == "loras" and (few := card_defaults.of_lora(find)):
            entry["defaults"] = few
        edits.append(partial(models_file.with_entry, name=card.name, field=find.field, entry=entry))
        name = own
    if not edits:
        return Added(name, find, is_new=False)

    def edit(text: str) -> str:
        for each in edits:
            text = each(text)
        return text

    text, after = models_file.preview(wishes.path, edit)
    if find.field == "vae" and any(
        after.files(card) and after.vae_files(after.cards[card.name]) is None for card in models
    ):
        raise AddError(f"{find.stem} does not fit {models[0].name}")
    _write(wishes, edit)
    return Added(name, find, tuple(card.name for card in models), text=text)


def _write(wishes: Wishes, edit: Callable[[str], str]) -> None:
    if not wishes.dry_run:
        models_file.change(wishes.path, edit)


def _listed(catalog: Catalog, source: str) -> Iterator[str]:
    for card in catalog.cards.values():
        if source == (card.transformer or card.source):
            yield card.name


def _written(source: str, root: Path) -> str:
    """A path as a card has it: from models.toml, where it lies below its folder. A link stays one.
    Repositories stay what they are."""
    path = Path(source)
    if not path.exists():
        return source
    whole, base = (os.path.abspath(each) for each in (path, root))
    inside = os.path.relpath(whole, base)
    return whole if inside.startswith("..") else inside


def _name(find: Find, taken: Sequence[str]) -> str:
    preset = next((name for name, each in PRESETS.items() if each.source == find.source), None)
    return free(preset or clean(find.stem), taken)
