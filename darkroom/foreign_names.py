"""Names by which clients of other APIs ask for models: those of models.toml's table of aliases, and
those that such clients have built in; used by the service, knows neither HTTP nor torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from darkroom import named_loras
from darkroom.catalog import Catalog
from darkroom.errors import ModelNotFoundError

WILDCARD = "*"
"""Of the table: whatever no model is called. Without it, that is the default model."""

BUILT_IN = (
    *("gpt-image-2.5-sunburst", "gpt-image-2.5-flare", "gpt-image-2", "gpt-image-1.5"),
    *("gpt-image-1", "gpt-image-1-mini", "chatgpt-image-latest", "dall-e-3", "dall-e-2"),
)
"""Names that clients of OpenAI's API send whatever their users have set, or choose from."""
GOOGLE = ("gemini-2.5-flash-image", "imagen-4.0-generate-001", "imagen-3.0-generate-002")
"""The same of Google's API."""
_NO_GUESS = ("gpt-image", "chatgpt-image", "dall-e", "imagen-", "gemini-")
"""How the names of OpenAI's and Google's models of pictures begin."""


@dataclass(frozen=True)
class Meant:
    """What a name was taken to mean."""

    model: str
    """As the native API takes it: a name, an alias or a source, perhaps with LoRAs behind it."""
    is_guess: bool = False
    """Whether only the wildcard led to it, from a name that no client has built in."""


def meant(catalog: Catalog, name: str | None) -> Meant:
    """What a client means by `name`: an alias of the table, else what the native API calls so, else
    what the wildcard stands for; the default model without a name.

    Raises ModelNotFoundError, also where the table says that a name stands for none."""
    if not name:
        return Meant(catalog.default)
    if name in catalog.aliases and name != WILDCARD:
        return Meant(_known(name, catalog.aliases[name]))
    try:
        named_loras.find(catalog, name)
    except ModelNotFoundError:
        wildcard = catalog.aliases.get(WILDCARD, catalog.default)
        if not wildcard or catalog.has(name.partition("+")[0]):  # it is a LoRA that is unknown
            raise
        return Meant(_known(name, wildcard), is_guess=not name.startswith(_NO_GUESS))
    return Meant(name)


def told_of_guess(name: Meant, asked: str | None) -> list[str]:
    """What the client is to be told of a name that only the wildcard led to."""
    if not name.is_guess:
        return []
    return [f"No model is called {(asked or '')[:100]!r} here; {name.model!r} took its place."]


def listed(catalog: Catalog, built_in: Sequence[str] = BUILT_IN) -> dict[str, str]:
    """All such names that can be told, each with what it stands for."""
    wildcard = catalog.aliases.get(WILDCARD, catalog.default)
    names = {alias: card.name for card in catalog.cards.values() for alias in card.aliases}
    names |= {name: wildcard for name in built_in if not catalog.has(name)}
    names |= {name: to for name, to in catalog.aliases.items() if name != WILDCARD}
    return {name: to for name, to in names.items() if to}


def _known(name: str, to: str) -> str:
    if not to:
        raise ModelNotFoundError(name, ())
    return to
