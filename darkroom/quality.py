"""Qualities that are asked for in words, as denoising steps; used by all processes, knows neither
HTTP nor torch."""

from typing import Annotated

from pydantic import Field

from darkroom.cards import Card

Steps = Annotated[int, Field(ge=1)] | None


class Quality(Card):
    """Denoising steps by the word; null follows from the model's usual number."""

    low: Steps = None
    """Null: half the usual number."""
    medium: Steps = None
    """Null: the usual number. `standard` means the same."""
    high: Steps = None
    """Null: half as many again. `hd` means the same."""
    xhigh: Steps = None
    """Null: twice the usual number."""
    max: Steps = None
    """Null: three times the usual number."""


_TIMES = {"low": 0.5, "high": 1.5, "xhigh": 2.0, "max": 3.0}
"""How many times the usual number of steps."""
_MEANS = {"standard": "medium", "hd": "high"}
WORDS = ("auto", *Quality.model_fields, *_MEANS)
"""All that can be asked for; `auto` is what the model does by itself."""
FEW = 8
"""Models that usually make so few steps were made for them: more make their pictures no better."""


def steps_of(word: str, quality: Quality, usual: int | None, most: int) -> int | None:
    """The steps that one of `WORDS` means where `quality` is the card's, `usual` the model's own
    number and `most` its limit; None: say nothing, and let the model decide."""
    name = _MEANS.get(word, word)
    steps: int | None = getattr(quality, name, None)
    if steps is None and usual and usual > FEW and name in _TIMES:
        steps = round(usual * _TIMES[name])
    return None if steps is None else min(steps, most)
