"""What becomes of the prompts of a body: blank ones are empty, tags become fields, and what will
not act is told; used by the service, knows neither HTTP nor torch."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from darkroom.errors import FieldError
from darkroom.offers import Offer
from darkroom.prompt_doubts import doubts
from darkroom.prompt_syntax import parse, text_of
from darkroom.prompt_tags import Untagged, tags_to_loras
from darkroom.request import Prompted, TextToImage
from darkroom.tasks import LEADERS, TASKS
from darkroom.vocabulary import strangers

_UNSEEN = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0") | {chr(0xFE00 + n) for n in range(16)}
"""Letters and marks, as Unicode has it, of which nothing is to be seen."""

_BLANK = ("Cf", "Zl", "Zp", "Zs")


def prepare(asked: Mapping[str, Any], task: str, offer: Offer, tags: bool) -> Untagged:
    """The fields of a body with what its prompts say beside their words taken out of them; `tags`
    is false where the operator wants `<lora:...>` read as it stands."""
    plain = {
        name: "" if name in ("prompt", "negative_prompt") and is_blank(value) else value
        for name, value in asked.items()
    }
    made = tags_to_loras(plain, task, offer, tags)
    if error := _lack_of_words(asked, made.body, task, offer):
        made.errors.append(error)
    return made


def warnings(values: Mapping[str, Any], offer: Offer) -> Iterator[str]:
    """What in the prompts of a checked body will not act as it is meant to."""
    if "prompt" in values and values["task"] == "text-to-image" and _nothing_leads(values):
        yield "prompt: it is empty, so the picture shows whatever the model makes of no words."
    yield from doubts(values, [each.token for each in offer.card.embeddings])
    if offer.vocabulary and (prompt := values.get("prompt")):
        yield from strangers(prompt, offer.card.name, offer.vocabulary)


def is_blank(text: Any) -> bool:
    """Whether it is text of which nothing is to be seen. Control characters are left to the check
    that refuses them."""
    return isinstance(text, str) and all(
        letter in "\t\n\r" or letter in _UNSEEN or unicodedata.category(letter) in _BLANK
        for letter in text
    )


def _nothing_leads(values: Mapping[str, Any]) -> bool:
    """Whether a request has neither words nor a picture to follow."""
    words = text_of(parse(values.get("prompt", "")))
    return is_blank(words) and not any(values.get(name) for name in LEADERS)


def _lack_of_words(
    asked: Mapping[str, Any], body: Mapping[str, Any], task: str, offer: Offer
) -> FieldError | None:
    """An empty prompt can be meant, one that is left out is forgotten; and beside regions a prompt
    says what they are part of."""
    request, prompt = TASKS[task].request, body.get("prompt", "")
    # Of what is longer or no text something else is told.
    if not isinstance(prompt, str) or len(prompt) > offer.card.limits.max_prompt_chars:
        return None
    if not issubclass(request, Prompted) or not _nothing_leads(body):
        return None
    if "prompt" in asked and issubclass(request, TextToImage):
        return None
    able = [name for name in LEADERS if name in offer.takes(task)]
    detail = "Say in prompt what the picture shall show"
    detail += f", or give {' or '.join(able)}" if able else ""
    detail += ", or image for image-to-image" if "image-to-image" in offer.tasks else ""
    return FieldError("/prompt", f"{detail}.", "too_short" if "prompt" in asked else "missing")
