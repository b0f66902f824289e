"""Where in a request its input pictures stand; used by all processes, knows neither HTTP nor torch.

Works on requests as JSON, so that a body that is not complete yet has places too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Picture = TypeVar("Picture")


@dataclass(frozen=True)
class Place:
    """The address of one picture in a request."""

    field: str
    index: int | None = None
    """Which one, in a field that is a list; from 0."""

    @property
    def path(self) -> tuple[str, ...]:
        """The keys that lead to it in the request as JSON: `controls`, `0`, `image`."""
        if self.index is None:
            return (self.field,)
        return (self.field, str(self.index), *(("image",) if self.field == "controls" else ()))

    def __str__(self) -> str:
        return "/".join(self.path)


PICTURE_FIELDS = frozenset({"image", "images", "mask_image", "reference_images"})
"""Fields whose texts are pictures, wherever in a request they stand."""

_LISTS = ("images", "reference_images")
"""Those that are lists of pictures."""

IMAGE = Place("image")
MASK = Place("mask_image")


def edited(index: int) -> Place:
    """One of `images`."""
    return Place("images", index)


def control(index: int) -> Place:
    """The picture of one of `controls`."""
    return Place("controls", index)


def reference(index: int) -> Place:
    """One of `reference_images`."""
    return Place("reference_images", index)


def input_images(request: Mapping[str, Any]) -> dict[Place, str]:
    """The pictures that a request brings, by their places."""
    found = {place: request.get(place.field) for place in (IMAGE, MASK)}
    controls = enumerate(request.get("controls") or ())
    found |= {control(index): each["image"] for index, each in controls}
    for field in _LISTS:
        found |= {Place(field, i): each for i, each in enumerate(request.get(field) or ())}
    return {place: image for place, image in found.items() if image is not None}


def first_of(pictures: Mapping[Place, Picture]) -> Picture | None:
    """The one that a job begins with: `image`, or the first of `images`."""
    return pictures.get(IMAGE, pictures.get(edited(0)))


def with_images(request: Mapping[str, Any], images: Mapping[Place, str]) -> dict[str, Any]:
    """`request` with the picture of each place replaced."""
    single = {place.field: image for place, image in images.items() if place.index is None}
    replaced = {**request, **single}
    if request.get("controls"):
        replaced["controls"] = [
            each | {"image": images[control(index)]}
            for index, each in enumerate(request["controls"])
        ]
    for field in _LISTS:
        if request.get(field):
            count = len(request[field])
            replaced[field] = [images[Place(field, index)] for index in range(count)]
    return replaced
