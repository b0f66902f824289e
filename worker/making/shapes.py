"""What is told of input pictures whose proportions are not those of what is made of them, and which
are stretched; runs in a job's greenlet, knows no models."""

from collections.abc import Iterator, Mapping

from darkroom.input_images import IMAGE, MASK, Place
from darkroom.request import FromImage, Inpaint, Request
from darkroom.sizes import Sides
from worker.making.work import Inputs

_SEEN = 1.1
"""By how much proportions may change, as they do where sides are rounded to a model's steps."""


def stretched(request: Request, inputs: Inputs) -> tuple[str, ...]:
    """A sentence for each input picture that is stretched."""
    sizes = {place: picture.size for place, picture in inputs.items()}
    return tuple(
        f"{place}: its {sizes[place][0]} x {sizes[place][1]} pixels are stretched to the "
        f"proportions of {to[0]} x {to[1]}."
        for place, to in _brought_to(request, sizes)
        if _change(sizes[place], to) > _SEEN
    )


def _brought_to(request: Request, sizes: Mapping[Place, Sides]) -> Iterator[tuple[Place, Sides]]:
    """Pictures with the size whose proportions they get. Those of an edit, and padded ones, have
    rules of their own."""
    made = (request.width, request.height)
    is_part = isinstance(request, Inpaint) and request.padding_mask_crop is not None
    is_padded = isinstance(request, Inpaint) and any(request.padding.model_dump().values())
    if isinstance(request, FromImage):
        if not (is_part or is_padded):
            yield IMAGE, made
        if MASK in sizes:
            yield MASK, sizes[IMAGE]
    for place in sizes:
        if place.field == "controls":
            yield place, sizes[IMAGE] if is_part else made


def _change(one: Sides, other: Sides) -> float:
    """By how much the proportions differ; 1 where they are the same."""
    ratio = one[0] * other[1] / (one[1] * other[0])
    return max(ratio, 1 / ratio)
