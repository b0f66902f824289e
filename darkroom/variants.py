"""Which files of weights belong to which variant of a model, such as fp16, by their names; used by
all processes, knows neither torch nor diffusers."""

import re
from collections.abc import Iterable, Set

WEIGHTS = ("model", "diffusion_pytorch_model")
"""How files of weights are called by transformers and by diffusers."""

_WEIGHTS = re.compile(
    rf"(?:{'|'.join(WEIGHTS)})(?:\.(?P<variant>[a-z0-9_]+))?"
    r"(?:-\d+-of-\d+)?(?:\.(?P<late>[a-z0-9_]+))?\.safetensors"
)


def of_variant(names: Iterable[str], variant: str | None) -> list[str]:
    """Of the names of a part's files those of the weights that are loaded: of `variant`, else of
    none."""
    found = _by_variant(names)
    return found.get(variant) or found.get(None, [])


def variants(names: Iterable[str]) -> set[str | None]:
    """Of the files of weights among those names; None of those that are of none."""
    return set(_by_variant(names))


def only_variant(parts: Iterable[Set[str | None]]) -> str | None:
    """The variant that a model is of as a whole, by those that its parts have: the only one of
    parts that have no other files."""
    only = {each for kinds in parts if None not in kinds for each in kinds}
    return next(iter(only)) if len(only) == 1 else None


def _by_variant(names: Iterable[str]) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for name in names:
        if match := _WEIGHTS.fullmatch(name):
            found.setdefault(match["variant"] or match["late"], []).append(name)
    return found
