"""The model that enlarges a picture between the two parts of a job with `hires`; used by service
and worker, knows neither HTTP nor torch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from darkroom.draft import Draft
from darkroom.errors import FieldError, InvalidRequestError, UnsupportedError
from darkroom.hires import LANCZOS, LATENT, upscale_model
from darkroom.offers import Offer
from darkroom.request import UPSCALE, Upscale
from darkroom.validation import completed

_WORDS = ("prompt", "negative_prompt")


def resolved(draft: Draft, offers: Callable[[], Iterable[Offer]]) -> tuple[Draft, Offer | None]:
    """The draft, with the own name of the model that enlarges its picture, and what that model
    offers; None if none does.

    Raises InvalidRequestError for a model that is none or cannot enlarge this picture."""
    name = upscale_model(draft.values)
    if name is None:
        return draft, None
    able = [each for each in offers() if "upscale" in each.tasks]
    for offer in able:
        if name in (offer.card.name, *offer.card.aliases, offer.card.source):
            hires = {**draft.values["hires"], "upscaler": offer.card.name}
            found = replace(draft, values={**draft.values, "hires": hires})
            _refuse_misfit(found.values, offer)
            return found, offer
    usable = [each.card.name for each in able if each.is_known and not each.error]
    there_are = [LATENT, LANCZOS, *usable]
    detail = f"No model of this name does upscale. Must be one of: {', '.join(there_are)}."
    raise InvalidRequestError([FieldError("/hires/upscaler", detail, "not_one_of")])


def between(values: Mapping[str, Any], offer: Offer) -> Upscale:
    """What the model of `offer` does to the first picture of a request, as a request of its own
    with all that the model takes by default.

    Raises InvalidRequestError, UnsupportedError."""
    asked = {"task": "upscale", "model": offer.card.name, "image": ""}
    asked |= {name: values[name] for name in ("seed", "num_images")}
    if offer.is_known and "upscale" in offer.tasks:
        taken = offer.takes("upscale")
        asked |= {name: values[name] for name in _WORDS if name in taken and values.get(name)}
    request = completed(Draft("upscale", asked), offer, (values["width"], values["height"]))
    assert isinstance(request, Upscale), "it is of that task"
    return request


def _refuse_misfit(values: Mapping[str, Any], offer: Offer) -> None:
    """Raises InvalidRequestError for what `between` would refuse, as far as it is known."""
    if not (offer.is_known and offer.scheduler and values.get("width") and values.get("height")):
        return
    try:
        between(values, offer)
    except InvalidRequestError as error:
        sides = f"{values['width'] * UPSCALE} x {values['height'] * UPSCALE}"
        said = " ".join(dict.fromkeys(each.detail for each in error.errors))
        detail = f"The model {offer.card.name!r} cannot enlarge the picture to {sides}: {said}"
        raise InvalidRequestError(
            [FieldError("/hires/upscaler", detail, error.errors[0].code)]
        ) from None
    except UnsupportedError as error:
        raise InvalidRequestError(
            [FieldError("/hires/upscaler", str(error), "unsupported_task")]
        ) from None
