"""How large a picture becomes; used by service and worker, knows neither HTTP nor torch."""

from collections.abc import Mapping
from typing import Any

from darkroom.cards import Limits
from darkroom.errors import FieldError, InvalidRequestError
from darkroom.field_errors import pointer
from darkroom.offers import Offer
from darkroom.request import UPSCALE
from darkroom.tasks import TASKS, Size

Sides = tuple[int, int]
"""Width and height in pixels."""


MaybeSides = tuple[int | None, int | None]
"""The same; None where nobody knows the model yet."""


def size_of(task: str, values: Mapping[str, Any], offer: Offer, image: Sides | None) -> MaybeSides:
    """The size of pictures, as the task's row in tasks.py says, from the checked values of a body
    and the size of `image`, the picture that it begins with. None for what only the model can tell,
    while that is not known.

    Raises InvalidRequestError for an upscaled picture beyond the limits."""
    width, height = values["width"], values["height"]
    rule = TASKS[task].size
    if rule is Size.TIMES_FOUR and image is not None:
        return _upscaled_size((width, height), image, offer)
    if rule is Size.OF_IMAGE and image is not None and width is None and height is None:
        width, height = size_like(_with_padding(image, values.get("padding")), offer)
    if rule is Size.AS_IMAGE and image is not None and width is None and height is None:
        return _size_as(image, offer)
    return width or offer.width, height or offer.height


def _with_padding(image: Sides, padding: Mapping[str, int] | None) -> Sides:
    """The picture's size with the canvas that `padding` adds."""
    if padding is None:
        return image
    return (
        image[0] + padding["left"] + padding["right"],
        image[1] + padding["top"] + padding["bottom"],
    )


def _upscaled_size(asked: tuple[int | None, int | None], image: Sides, offer: Offer) -> Sides:
    limits = offer.limits
    width, height = image[0] * UPSCALE, image[1] * UPSCALE
    for name, wish, side in (("width", asked[0], width), ("height", asked[1], height)):
        if wish not in (None, side):
            detail = f"Is {side}, {UPSCALE} times that of the image; leave it out."
            raise InvalidRequestError([FieldError(pointer(name), detail, "fixed_size")])
    if max(width, height) > limits.max_size or width * height > limits.max_pixels:
        detail = (
            f"Would become {width} x {height}; this model makes at most {limits.max_size} on a "
            f"side and {limits.max_pixels} pixels."
        )
        raise InvalidRequestError([FieldError("/image", detail, "too_many_pixels")])
    return width, height


def _size_as(image: Sides, offer: Offer) -> MaybeSides:
    """The picture's own size, or the largest of its shape within the limits; both sides rounded
    down to what the model makes."""
    if not offer.is_known:
        return None, None
    limits = offer.limits
    fits = (limits.max_pixels / (image[0] * image[1])) ** 0.5
    scale = min(1.0, fits, limits.max_size / max(image))
    lowest, highest = bounds(limits)

    def fit(side: int) -> int:
        whole = int(side * scale) // limits.size_multiple * limits.size_multiple
        return min(max(whole, lowest), highest)

    return fit(image[0]), fit(image[1])


def bounds(limits: Limits) -> Sides:
    """The shortest and the longest side that the limits allow."""
    step = limits.size_multiple
    return -(-limits.min_size // step) * step, limits.max_size // step * step


def size_like(image: Sides, offer: Offer) -> MaybeSides:
    """The size nearest to the picture's shape with the model's usual number of pixels."""
    if offer.width is None or offer.height is None:
        return None, None
    lowest, highest = bounds(offer.limits)
    width, height = of_shape(image, offer.width * offer.height, offer.limits)
    return min(max(width, lowest), highest), min(max(height, lowest), highest)


def of_shape(shape: Sides, pixels: float, limits: Limits) -> Sides:
    """The size nearest to so many pixels in this shape whose sides the model can have, however long
    they may be; no rounding makes more pixels of it than there may be."""
    scale = float((pixels / (shape[0] * shape[1])) ** 0.5)
    step = limits.size_multiple
    width, height = (round(side * scale / step) * step for side in shape)
    if pixels <= limits.max_pixels < width * height:
        width, height = (int(side * scale) // step * step for side in shape)
    return width, height
