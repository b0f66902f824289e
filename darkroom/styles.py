"""Styles: words of models.toml around the prompts of a request; used by service and worker, knows
neither HTTP nor torch."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkroom.cards import PROMPT, StyleCard
from darkroom.errors import FieldError
from darkroom.offers import Offer

MOST_NAMED = 20


@dataclass(frozen=True)
class Styled:
    """A body whose prompts are as its style makes them."""

    body: dict[str, Any]
    errors: tuple[FieldError, ...] = ()
    warnings: tuple[str, ...] = ()


def apply(
    asked: Mapping[str, Any], name: Any, styles: Sequence[StyleCard], task: str, offer: Offer
) -> Styled:
    """Put a style around the prompts of a body. One of another type than text, or none, is left to
    the check of the options."""
    body = dict(asked)
    if not isinstance(name, str):
        return Styled(body)
    style = next((each for each in styles if each.name == name), None)
    takes = offer.takes(task)
    if style is None:
        return Styled(body, (_unknown(name, styles),))
    if "prompt" not in takes:
        detail = f"{task} with the model {offer.card.name!r} follows no prompt."
        return Styled(body, (FieldError("/style", detail, "unsupported_field"),))
    body |= _prompt(style, body)
    if style.negative_prompt and "negative_prompt" not in takes:
        left_out = f"style: the model takes no negative_prompt, so that of {name!r} is left out."
        return Styled(body, warnings=(left_out,))
    return Styled(body | _negative_prompt(style, body, offer))


def _prompt(style: StyleCard, body: Mapping[str, Any]) -> dict[str, Any]:
    """What is no text is left to the check that refuses it."""
    prompt = body.get("prompt", "")
    if not isinstance(prompt, str):
        return {}
    whole = style.prompt.replace(PROMPT, prompt)
    return {"prompt": whole if prompt.strip() else whole.strip(" ,;.")}


def _negative_prompt(style: StyleCard, body: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    own = body.get("negative_prompt", offer.card.defaults.negative_prompt)
    if not style.negative_prompt or not isinstance(own, str):
        return {}
    words = (own if own.strip() else "", style.negative_prompt)
    return {"negative_prompt": ", ".join(filter(None, words))}


def _unknown(name: str, styles: Sequence[StyleCard]) -> FieldError:
    known = [each.name for each in styles]
    if not known:
        return FieldError("/style", "No styles are set up here.", "not_one_of")
    near = difflib.get_close_matches(name[:64], known, 3, 0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    named = ", ".join(known[:MOST_NAMED])
    more = f" and {len(known) - MOST_NAMED} more" if known[MOST_NAMED:] else ""
    detail = f"There is no style of this name.{hint} There are: {named}{more}."
    return FieldError("/style", detail, "not_one_of")


def styles_of(own: tuple[StyleCard, ...], common: tuple[StyleCard, ...]) -> tuple[StyleCard, ...]:
    """Those of a model and those of all, without those of all whose names the model has itself."""
    names = {each.name for each in own}
    return (*own, *(each for each in common if each.name not in names))
