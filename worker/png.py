"""Pixels to PNG bytes; called from threads of the worker, knows no jobs."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# Level 6 takes three times as long and saves a twentieth on photographs.
COMPRESSION = 3


def encode(pixels: np.ndarray, text: Mapping[str, str]) -> bytes:
    """PNG of `pixels` (uint8, height x width x 3) with `text` as its text chunks: tEXt, which
    every reader knows, where Latin-1 holds it, else iTXt."""
    chunks = PngInfo()
    for name, value in text.items():
        chunks.add_text(name, value)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", pnginfo=chunks, compress_level=COMPRESSION)
    return out.getvalue()
