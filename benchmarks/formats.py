"""Bytes and CPU milliseconds of a 512x512 picture in each format, with all that it says of itself.

    python -m benchmarks.formats

Best of seven: `docs/grid.png`, enlarged, and noise, which no format can make small.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from darkroom.encoding import encode
from darkroom.provenance import describe
from darkroom.request import Output

GRID = Path(__file__).parents[1] / "docs" / "grid.png"
SIZE = (512, 512)
REQUEST = {
    "task": "text-to-image",
    "model": "emoji",
    "prompt": "a red apple",
    "width": 512,
    "height": 512,
    "num_inference_steps": 25,
    "guidance_scale": 7.5,
    "scheduler": "DPMSolverMultistepScheduler",
    "seed": 1,
    "num_images": 1,
}
OUTPUTS = [
    Output(),
    *(Output(format=name, quality=quality) for name in ("jpeg", "webp") for quality in (75, 90)),
]


def measure(pixels: np.ndarray, output: Output) -> tuple[int, int, float]:
    """Bytes, how many of them are not the picture, best CPU milliseconds."""
    told, seconds = describe(REQUEST, 0, "full"), []
    how = Image.fromarray(pixels), output.format, output.quality
    for _ in range(7):
        began = time.thread_time()
        data = encode(*how, told).data
        seconds.append(time.thread_time() - began)
    return len(data), len(data) - len(encode(*how, None).data), 1000 * min(seconds)


def main() -> None:
    grid = Image.open(GRID).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    print(f"{'picture':8} {'format':5} {'quality':>7} {'bytes':>8} {'metadata':>8} {'ms':>6}")
    for name, pixels in (("grid", np.asarray(grid)), ("noise", noise)):
        for output in OUTPUTS:
            size, metadata, ms = measure(pixels, output)
            quality = "" if output.format == "png" else output.quality
            print(f"{name:8} {output.format:5} {quality!s:>7} {size:8} {metadata:8} {ms:6.1f}")


if __name__ == "__main__":
    main()
