"""How much memory models take and leave: what their files say, what is loaded.

Used by the worker's models, knows no jobs.
"""

from collections.abc import Iterable

import torch

from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles, PartFiles
from worker.loading.weights import vae_dtype


def expected_bytes(
    card: ModelCard, files: ModelFiles, dtype: torch.dtype, *, vae: PartFiles | None = None
) -> dict[str, int]:
    """Bytes that each part of a model will take once it is loaded in `dtype`; `vae` is another VAE
    in place of its own. Parts that hold no weights are left out, and so is what cannot be read:
    loading will say why."""
    left_out = {"safety_checker"} | (set() if card.text_encoders else {"text_encoder_3"})
    sizes = {}
    for part, (library, *_) in files.parts.items():
        if library and part not in left_out:
            where = vae if part == "vae" and vae else files.part(part)
            wide = vae_dtype(dtype) if part == "vae" else dtype
            if size := where.size(wide.itemsize, files.variant(card.variant)):
                sizes[part] = size
    return sizes


def held_bytes(modules: Iterable[torch.nn.Module]) -> int:
    """Bytes of all parameters and buffers, each counted once."""
    tensors = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            tensors[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(tensors.values())


def in_words(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
