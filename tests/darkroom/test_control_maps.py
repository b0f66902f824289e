"""Edges lie where colours change, and nowhere else."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from darkroom.control_maps import canny, control_map

# The same brightness twice: who looks at gray alone finds no edge.
REDDISH, BLUISH = (200, 90, 60), (60, 132, 217)


@pytest.fixture
def disc() -> Image.Image:
    y, x = np.mgrid[:64, :64]
    inside = (x - 32) ** 2 + (y - 32) ** 2 < 20**2
    return Image.fromarray(np.where(inside[..., None], REDDISH, BLUISH).astype(np.uint8))


def test_edges_follow_the_outline(disc):
    edges = canny(disc)
    assert (edges.mode, edges.size) == ("RGB", (64, 64))
    pixels = np.asarray(edges)
    assert set(np.unique(pixels)) == {0, 255}
    assert (pixels == pixels[..., :1]).all()
    y, x = np.nonzero(pixels[..., 0])
    assert np.abs(np.hypot(x - 32, y - 32) - 20).max() < 2
    assert len(x) > 80


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_any_mode_is_read(disc, mode):
    assert canny(disc.convert(mode)).mode == "RGB"


def test_a_flat_picture_has_none():
    assert not np.asarray(canny(Image.new("RGB", (40, 24), "pink"))).any()


def test_edges_are_found_at_the_size_that_they_will_have(disc):
    large = control_map(disc.convert("RGBA"), "canny", (256, 128))
    assert large.tobytes() == canny(disc.resize((256, 128), Image.Resampling.LANCZOS)).tobytes()
    pixels = np.asarray(large)[..., 0]
    assert set(np.unique(pixels)) == {0, 255}, "no edge was enlarged"


def test_a_map_that_is_one_already_is_but_brought_to_size(disc):
    assert control_map(disc, None, (64, 64)).tobytes() == disc.tobytes()
    assert control_map(disc.convert("L"), None, (8, 16)).size == (8, 16)


def test_import_does_not_bring_opencv():
    code = "import sys, darkroom.control_maps; sys.exit('cv2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
