"""What a ControlNet sees of a picture; used by the worker's jobs, by the service's decoders, which
show it beforehand, and by the training of the ControlNet; knows no models."""

from PIL import Image

# The usual thresholds of Canny's method, and those that public canny ControlNets were trained with.
WEAK, STRONG = 100, 200


def control_map(image: Image.Image, preprocess: str | None, size: tuple[int, int]) -> Image.Image:
    """The map of a picture, RGB of `size`: the picture itself, or what `preprocess` makes of it.
    Edges are found at the size that they will have. Raises MemoryError."""
    image = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return canny(image) if preprocess == "canny" else image


def canny(image: Image.Image) -> Image.Image:
    """White edges, one pixel wide, on black: an RGB image of the same size.

    Any mode is read as RGB; where channels differ, the steepest one counts. Raises MemoryError."""
    import cv2  # of no use to most jobs, and slow to start
    import numpy as np

    try:
        edges = cv2.Canny(np.asarray(image.convert("RGB")), WEAK, STRONG)
    except cv2.error as error:
        raise MemoryError(str(error)) from error
    return Image.fromarray(edges).convert("RGB")
