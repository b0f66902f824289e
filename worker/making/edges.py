"""Edges of a picture; called by jobs that ask for them and by the training of the ControlNet,
knows neither."""

import numpy as np
from PIL import Image

# The usual thresholds of Canny's method, and those that public canny ControlNets were trained with.
WEAK, STRONG = 100, 200


def canny(image: Image.Image) -> Image.Image:
    """White edges, one pixel wide, on black: an RGB image of the same size.

    Any mode is read as RGB; where channels differ, the steepest one counts.
    """
    import cv2  # of no use to most jobs, and slow to start

    edges = cv2.Canny(np.asarray(image.convert("RGB")), WEAK, STRONG)
    return Image.fromarray(edges).convert("RGB")
