"""Which LoRAs a model has, those of its card and those that clients uploaded, and LoRAs that stand
behind the name of their model; used by service and worker, knows neither HTTP nor torch."""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from darkroom.catalog import Catalog
from darkroom.errors import FieldError, ModelNotFoundError
from darkroom.lora_folder import mark_of
from darkroom.model_card import ModelCard
from darkroom.model_record import ModelRecord
from darkroom.request import MAX_LORAS

MOST_NAMED = 8
"""LoRAs that a sentence names."""


def find(catalog: Catalog, name: str | None) -> tuple[ModelCard, tuple[str, ...]]:
    """The card called `name`, and the names of its LoRAs that stand behind: `sdxl+ink`. A name of
    a model that has a plus sign itself is that.

    Raises ModelNotFoundError, which holds near matches and says which part is unknown."""
    if name is None or "+" not in name or catalog.has(name):
        return catalog.find(name), ()
    model, *loras = name.split("+")
    if not model:
        able = [each for each, card in catalog.cards.items() if _has(catalog, card, loras)]
        near = [f"{each}{name}" for each in able[:3]]
        raise ModelNotFoundError(name, near, because="a model is named before the plus sign")
    try:
        card = catalog.find(model)
    except ModelNotFoundError as error:
        whole = ["+".join((near, *loras)) for near in error.near]
        raise ModelNotFoundError(
            name, whole, because=f"there is no model {model[:100]!r}"
        ) from None
    known = _names(catalog, card)
    for lora in loras:
        if lora not in known:
            alike = difflib.get_close_matches(lora, known, 3, 0.5)
            near = [f"{card.name}+{each}" for each in alike] or [card.name]
            has = f"the model {card.name!r} has {_no_lora(lora, known)}"
            raise ModelNotFoundError(name, near, because=has)
    return card, tuple(loras)


def with_uploads(catalog: Catalog, card: ModelCard) -> ModelCard:
    """The card as if it named the LoRAs too that clients uploaded."""
    if catalog.uploads is None or not (found := catalog.uploads.cards(card.name)):
        return card
    own = {each.name for each in card.loras}
    more = (each for each in found if each.name not in own)
    return card.model_copy(update={"loras": (*card.loras, *more)})


def names(
    catalog: Catalog, card: ModelCard, usable: Sequence[str], record: ModelRecord | None = None
) -> tuple[str, ...]:
    """Those of a card's LoRAs that are `usable`, and those that clients uploaded, but for what a
    worker found to be of no use."""
    more = with_uploads(catalog, card).loras[len(card.loras) :]
    wrong = refused(catalog, card, record)
    return (*usable, *(each.name for each in more if f"lora:{each.name}" not in wrong))


def refused(catalog: Catalog, card: ModelCard, record: ModelRecord | None) -> dict[str, str]:
    """Of the LoRAs that clients uploaded those that a worker could not use as they lie there, such
    as `lora:name`, and why."""
    if record is None or catalog.uploads is None:
        return {}
    own = {each.name for each in card.loras}
    return {
        f"lora:{name}": wrong.reason
        for name, wrong in record.refused_uploads.items()
        if name not in own and mark_of(catalog.uploads.file(card.name, name)) == wrong.file
    }


def refusals(
    asked: Mapping[str, Any], model: str, usable: Sequence[str], faults: Mapping[str, str]
) -> Iterator[FieldError]:
    """Of LoRAs that a body, which nobody has checked yet, names and that are not among the `usable`
    ones of the model. `faults`: why not, such as of `lora:name`."""
    given = asked.get("loras")
    for index, each in enumerate(given[:MAX_LORAS] if isinstance(given, list | tuple) else ()):
        name = each.get("name") if isinstance(each, Mapping) else None
        if not isinstance(name, str) or name in usable:
            continue
        if fault := faults.get(f"lora:{name}"):
            others = f" Of use are: {nearest(name, usable)}." if usable else ""
            detail = f"The LoRA {name!r} of the model {model!r} cannot be used: {fault}.{others}"
        else:  # what a client wrote may hold anything: it is not said again
            has = f"no LoRA of that name; it has {nearest(name, usable)}" if usable else "no LoRAs"
            detail = f"The model {model!r} has {has}."
        yield FieldError(f"/loras/{index}/name", detail, "not_one_of")


def added_up(values: Mapping[str, Any]) -> Iterator[str]:
    """What is said of LoRAs that a checked body names more than once."""
    for name, count in Counter(each["name"] for each in values.get("loras", ())).items():
        if count > 1:
            yield f"The LoRA {name!r} is named {count} times; its scales are added."


def nearest(name: str, known: Sequence[str]) -> str:
    """Some of the names that there are, those first that are most like `name`."""
    near = difflib.get_close_matches(name[:64], known, 3, 0.5)
    named = [*near, *(each for each in known if each not in near)]
    more = len(named) - MOST_NAMED
    return ", ".join(named[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _no_lora(name: str, known: Sequence[str]) -> str:
    if not known:
        return "no LoRAs"
    called = f"no LoRA {name[:64]!r}" if name else "no LoRA without a name"
    return f"{called}; it has {nearest(name, known)}"


def _has(catalog: Catalog, card: ModelCard, loras: Sequence[str]) -> bool:
    return {*loras} <= {*_names(catalog, card)}


def _names(catalog: Catalog, card: ModelCard) -> list[str]:
    return [each.name for each in with_uploads(catalog, card).loras]
