"""Which shapes of pictures edits can work from; used by service and worker, knows neither HTTP nor
torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from darkroom.errors import FieldError
from darkroom.field_errors import pointer
from darkroom.input_images import Place

if TYPE_CHECKING:
    from darkroom.offers import Offer
    from darkroom.sizes import Sides

LONGEST = 100
"""How many times as long as the other a side of a picture may be. Pipelines bring pictures to their
own number of pixels and round sides to 32; transformers' processors take 200 after that."""


def alike(picture: Sides, size: Sides, multiple: int) -> Sides:
    """A size of the shape of `picture`, with as many pixels as `size` and sides that are multiples
    of `multiple`."""
    scale = float((size[0] * size[1] / (picture[0] * picture[1])) ** 0.5)
    width, height = (max(round(side * scale / multiple), 1) * multiple for side in picture)
    return width, height


def unfit(picture: Sides, size: Sides, multiple: int, rules: Mapping[str, int]) -> str | None:
    """Why a picture of this size is of no use where one of `size` is made; None if it is of use.
    `rules` are those of the model's pipeline for what it is brought to, as the table of diffusers'
    classes has them."""
    shape = f"{picture[0]} x {picture[1]}"
    if max(picture) > LONGEST * min(picture):
        return f"A picture of {shape} is no use: one side is more than {LONGEST} times the other."
    brought = alike(picture, size, multiple)
    would = f"A picture of {shape} would be brought to {brought[0]} x {brought[1]}"
    if rules and max(brought) > rules["longest"] * min(brought):
        return f"{would}; this model takes sides of at most {rules['longest']} times the other."
    if rules and min(brought) < rules["min_side"]:
        return (
            f"{would}, the pixels of the one that is made; this model takes {rules['min_side']} "
            "and more on each side: ask for a larger width and height."
        )
    return None


def refusals(
    values: Mapping[str, Any], pictures: Mapping[Place, Sides], offer: Offer
) -> Iterator[FieldError]:
    """Of the pictures of an edit those that the model cannot work from, as far as it is known."""
    width, height = values.get("width"), values.get("height")
    if values["task"] != "edit" or not (offer.is_known and width and height):
        return
    is_painted = offer.edits_within_mask and values.get("mask_image") and len(values["images"]) == 1
    rules = {} if is_painted else offer.edit_rules  # of a call that is not the one that is made
    for place, picture in pictures.items():
        if place.field == "images" and (
            why := unfit(picture, (width, height), offer.multiple, rules)
        ):
            yield FieldError(pointer(*place.path), why, "unfit_picture")
