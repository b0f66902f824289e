"""By which task a model changes pictures as a prompt says; in the service, knows no dialect."""

from collections.abc import Sequence
from typing import Any

from darkroom.errors import FieldError, InvalidRequestError
from darkroom.offers import Offer


def edit_by(
    offer: Offer, images: Sequence[str], mask: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The native fields for pictures, of which there is one at least, and what is to be told of it.
    `mask`: white is made anew. Models that follow no instruction inpaint, or make another picture
    from the first. Raises InvalidRequestError."""
    if "edit" in offer.tasks:
        body = {"task": "edit", "images": list(images)}
        return body | ({"mask_image": mask} if mask else {}), []
    name = offer.card.name
    if len(images) > 1:
        detail = f"The model {name!r} works from one picture, {len(images)} came."
        raise InvalidRequestError([FieldError("/images", detail, "too_many")])
    body = {"task": "inpaint" if mask else "image-to-image", "image": images[0]}
    told = (
        f"The model {name!r} does not follow instructions: by {body['task']} it makes what the "
        "prompt describes."
    )
    return body | ({"mask_image": mask} if mask else {}), [told]
