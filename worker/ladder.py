"""What is done about a call that does not fit into memory by itself, rung by rung, and which rung
helped last time; engine thread of the worker only.

A group of calls is halved before this begins. Decoding is tried again by itself: what was denoised
stays as it is.
"""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from worker.gather import Call

RUNGS = ("smaller_group", "models_evicted", "vae_slicing", "vae_tiling")
"""In the order in which they are tried; a job tells the last that it needed."""

_SMALLEST_TILE = 4
_SETTINGS = ("use_slicing", "use_tiling", "tile_latent_min_size", "tile_sample_min_size")


class Ladder:
    """Remembers by model and size which rung let a call of its VAE through."""

    def __init__(self) -> None:
        self._helped: dict[Hashable, str] = {}

    def remembered(self, call: Call, model: str) -> str | None:
        """The rung that a call of this size needed before."""
        return self._helped.get(_size(call, model))

    def remember(self, call: Call, model: str, rung: str) -> None:
        self._helped[_size(call, model)] = rung


def rungs(call: Call, components: Mapping[str, Any]) -> list[str]:
    """What can be tried for this call; nothing unless it is a VAE's."""
    if (vae := _vae(call, components)) is None:
        return []
    able = [rung for rung in RUNGS if hasattr(vae, rung.replace("vae_", "use_"))]
    return able if _rows(call) > 1 else [rung for rung in able if rung != "vae_slicing"]


def on(rung: str | None, call: Call, components: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Run what is within as `rung` has it; None as it is."""
    vae = _vae(call, components)
    return nullcontext() if rung is None or vae is None else _switched(vae, rung, call)


@contextmanager
def _switched(vae: torch.nn.Module, rung: str, call: Call) -> Iterator[None]:
    before = {name: getattr(vae, name) for name in _SETTINGS if hasattr(vae, name)}
    try:
        if "use_slicing" in before:
            vae.use_slicing = True
        if rung == "vae_tiling":
            vae.use_tiling = True
            _make_tiles_smaller(vae, call)
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


def _make_tiles_smaller(vae: torch.nn.Module, call: Call) -> None:
    """Tiles are by default as large as what the VAE was trained on, which may be all of it."""
    if not hasattr(vae, "tile_latent_min_size"):
        return
    encodes = call.module_name.endswith(".encode")
    tile = "tile_sample_min_size" if encodes else "tile_latent_min_size"
    largest = max(_first(call).shape[-2:])
    while getattr(vae, tile) >= largest and vae.tile_latent_min_size > _SMALLEST_TILE:
        vae.tile_latent_min_size //= 2
        vae.tile_sample_min_size //= 2


def _vae(call: Call, components: Mapping[str, Any]) -> torch.nn.Module | None:
    name, _, method = call.module_name.partition(".")
    return components.get(name) if method else None


def _first(call: Call) -> torch.Tensor:
    """The latents or pixels that an autoencoder is called with."""
    return next(v for v in (*call.args, *call.kwargs.values()) if isinstance(v, torch.Tensor))


def _rows(call: Call) -> int:
    return _first(call).shape[0]


def _size(call: Call, model: str) -> Hashable:
    return (model, call.module_name, tuple(_first(call).shape) if "." in call.module_name else ())
