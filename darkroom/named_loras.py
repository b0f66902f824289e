"""Which LoRAs a model has, those of its card and those that clients uploaded, and LoRAs that stand
behind the name of their model; used by service and worker, knows neither HTTP nor torch."""

import difflib
from collections.abc import Sequence

from darkroom.catalog import Catalog, ModelCard
from darkroom.errors import ModelNotFoundError


def find(catalog: Catalog, name: str | None) -> tuple[ModelCard, tuple[str, ...]]:
    """The card called `name`, and the names of its LoRAs that stand behind: `sdxl+ink`. A name of
    a model that has a plus sign itself is that.

    Raises ModelNotFoundError, which holds near matches."""
    if name is None or "+" not in name or catalog.has(name):
        return catalog.find(name), ()
    model, *loras = name.split("+")
    card = catalog.find(model)
    known = [each.name for each in with_uploads(catalog, card).loras]
    for lora in loras:
        if lora not in known:
            near = difflib.get_close_matches(lora, known, 3, 0.5)
            raise ModelNotFoundError(name, [f"{card.name}+{each}" for each in near])
    return card, tuple(loras)


def with_uploads(catalog: Catalog, card: ModelCard) -> ModelCard:
    """The card as if it named the LoRAs too that clients uploaded."""
    if catalog.uploads is None or not (found := catalog.uploads.cards(card.name)):
        return card
    own = {each.name for each in card.loras}
    more = (each for each in found if each.name not in own)
    return card.model_copy(update={"loras": (*card.loras, *more)})


def names(catalog: Catalog, card: ModelCard, usable: Sequence[str]) -> tuple[str, ...]:
    """Those of a card's LoRAs that are `usable`, and those that clients uploaded."""
    more = with_uploads(catalog, card).loras[len(card.loras) :]
    return (*usable, *(each.name for each in more))
