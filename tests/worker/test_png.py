import io

import numpy as np
from PIL import Image

from worker import png


def test_pixels_and_text_come_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    text = {"parameters": "a cat\nSteps: 3", "darkroom": '{"prompt": "café 猫 \\u0000"}'}
    image = Image.open(io.BytesIO(png.encode(pixels, text)))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (7, 5))
    assert np.array_equal(np.asarray(image), pixels)
    assert image.text == text
