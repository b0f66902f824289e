"""The models of these tests: tiny, random, and some that are no good."""

from pathlib import Path

from tests import tiny
from tests.chaos.traps import KILLS_AT_LOAD

MODELS = f"""
default = "tiny"

[[models]]
name = "tiny"
source = "tiny"
defaults = {{ num_inference_steps = 4 }}
limits = {{ min_size = 8, max_size = 64, size_multiple = 4, max_steps = 20000 }}

[[models]]
name = "{KILLS_AT_LOAD}"
source = "tiny"
limits = {{ min_size = 8, max_size = 64, size_multiple = 4 }}

[[models]]
name = "cut-short"
source = "cut-short"
limits = {{ min_size = 8, max_size = 64, size_multiple = 4 }}
"""


def write(folder: Path) -> Path:
    """models.toml and what it names: one that works, one that kills its process while it loads,
    one whose weights were cut short."""
    folder.mkdir()
    tiny.write("sd15", folder / "tiny")
    tiny.write("sd15", folder / "cut-short")
    weights = folder / "cut-short" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])
    (folder / "models.toml").write_text(MODELS)
    return folder / "models.toml"
