"""Where in a request its input pictures stand; used by all processes, knows neither HTTP nor torch.

Works on requests as JSON, so that a body that is not complete yet has places too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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


PICTURE_FIELDS = frozenset({"image", "mask_image", "reference_images"})
"""Fields whose texts are pictures, wherever in a request they stand."""

IMAGE = Place("image")
MASK = Place("mask_image")


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
    references = enumerate(request.get("reference_images") or ())
    found |= {reference(index): each for index, each in references}
    return {place: image for place, image in found.items() if image is not None}


def with_images(request: Mapping[str, Any], images: Mapping[Place, str]) -> dict[str, Any]:
    """`request` with the picture of each place replaced."""
    single = {place.field: image for place, image in images.items() if place.index is None}
    replaced = {**request, **single}
    if request.get("controls"):
        replaced["controls"] = [
            each | {"image": images[control(index)]}
            for index, each in enumerate(request["controls"])
        ]
    if request.get("reference_images"):
        count = len(request["reference_images"])
        replaced["reference_images"] = [images[reference(index)] for index in range(count)]
    return replaced
