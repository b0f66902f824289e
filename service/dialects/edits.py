"""By which task a model changes pictures as a prompt says; in the service, knows no dialect."""

from collections.abc import Sequence
from typing import Any

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.offers import Offer

_BY_STRENGTH = frozenset({"image-to-image", "inpaint"})


def edit_by(
    offer: Offer, images: Sequence[str], mask: str | None = None, strength: float | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The native fields for pictures, of which there is one at least, and what is to be told of it.
    Models that follow no instruction inpaint, make another picture from the first, or, where they
    do nothing else, make it larger.

    `mask`: white is made anew. `strength`: how much of the picture, 0 to 1; left out, with a word,
    where the task has none. Raises InvalidRequestError."""
    name, task = offer.card.name, _task(offer, mask)
    if task != "edit" and len(images) > 1:
        detail = f"The model {name!r} works from one picture, {len(images)} came."
        raise InvalidRequestError([FieldError("/images", detail, "too_many")])
    body: dict[str, Any] = {"task": task}
    body |= {"images": list(images)} if task == "edit" else {"image": images[0]}
    if mask:
        body["mask_image"] = mask
    told = _said_of(task, name)
    if strength is not None and task in _BY_STRENGTH:
        body["strength"] = strength
    elif strength is not None:
        told.append(f"Of the task {task} there is no strength; it was left out.")
    return body, told


def _task(offer: Offer, mask: str | None) -> str:
    if "edit" in offer.tasks:
        return "edit"
    if mask:
        return "inpaint"
    upscales = "upscale" in offer.tasks and not _BY_STRENGTH & set(offer.tasks)
    return "upscale" if upscales else "image-to-image"


def _said_of(task: str, name: str) -> list[str]:
    if task == "edit":
        return []
    if task == "upscale":
        return [f"The model {name!r} makes pictures larger, and does nothing else to them."]
    return [
        f"The model {name!r} does not follow instructions: by {task} it makes what the prompt "
        "describes."
    ]
