"""How much memory models take and leave; reads headers of weight files, counts what is loaded.

Used by the worker's models, knows no jobs.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from darkroom.catalog import ModelCard
from darkroom.offers import read_json

_WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>[a-z0-9_]+))?"
    r"(?:-\d+-of-\d+)?(?:\.(?P<late>[a-z0-9_]+))?\.safetensors"
)
_BITS = re.compile(r"F(?:8|16|32|64)\b|F8_\w+|BF16")


def expected_bytes(
    card: ModelCard, folder: Path, dtype: torch.dtype, *, vae: Path | None = None
) -> dict[str, int]:
    """Bytes that each part of a model in `folder` will take once it is loaded in `dtype`, by the
    headers of its files; `vae` is the folder of another VAE. Parts that hold no weights are left
    out, and so is what cannot be read: loading will say why."""
    index = read_json(folder / "model_index.json")
    left_out = {"safety_checker"} | (set() if card.text_encoders else {"text_encoder_3"})
    parts = {}
    for part, entry in index.items():
        if isinstance(entry, list) and entry and entry[0] and part not in left_out:
            where = vae if part == "vae" and vae else folder / part
            wide = dtype if part != "vae" or dtype != torch.float16 else torch.float32
            if size := sum(_loaded(file, wide) for file in weight_files(where, card.variant)):
                parts[part] = size
    return parts


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """The safetensors of a part of a model: those of `variant`, else those of none."""
    found: dict[str | None, list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if match := _WEIGHTS.fullmatch(path.name):
            found.setdefault(match["variant"] or match["late"], []).append(path)
    return found.get(variant) or found.get(None, [])


def held_bytes(modules: Iterable[torch.nn.Module]) -> int:
    """Bytes of all parameters and buffers, each counted once."""
    tensors = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            tensors[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(tensors.values())


def in_words(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _loaded(file: Path, dtype: torch.dtype) -> int:
    """Bytes of the tensors of a file when those of floating point are turned into `dtype`."""
    return sum(
        math.prod(entry["shape"]) * dtype.itemsize
        if _BITS.match(entry["dtype"])
        else entry["data_offsets"][1] - entry["data_offsets"][0]
        for entry in _header(file).values()
    )


def _header(file: Path) -> Mapping[str, Any]:
    """What a safetensors file says of its tensors."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > file.stat().st_size:
                return {}
            content = json.loads(opened.read(length))
        return {name: entry for name, entry in content.items() if "shape" in entry}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
