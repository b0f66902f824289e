"""Masks brought to another size; used by service and worker, knows neither HTTP nor torch."""

from PIL import Image


def resized(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A mask of mode L at another size. One of black and white alone stays so: what it hides must
    not shimmer through at its edge. Greys never reach further than the pixel they lie in when a
    mask shrinks, and blend when it grows."""
    if mask.size == size:
        return mask
    is_hard = sum(mask.histogram()[1:255]) == 0
    if is_hard:
        return mask.resize(size, Image.Resampling.BOX).point(_BLACK_OR_WHITE)
    for wide, high in ((size[0], mask.height), size):
        grows = wide > mask.width or high > mask.height
        how = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
        mask = mask.resize((wide, high), how)
    return mask


_BLACK_OR_WHITE = [255 * (value >= 128) for value in range(256)]
