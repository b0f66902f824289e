"""What is done about a call that does not fit into memory by itself, rung by rung, and which rung
helped last time; engine thread of the worker only.

A group of calls is halved before this begins. Only the call is tried again: what was denoised
stays as it is.
"""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from worker.device import free_device_memory
from worker.gathering.gather import Call

RUNGS = ("smaller_group", "models_evicted", "vae_slicing", "vae_tiling", "offload")
"""In the order in which they are tried; a job tells the last that it needed."""

_SMALLEST_TILE = 4
_SETTINGS = ("use_slicing", "use_tiling", "tile_latent_min_size", "tile_sample_min_size")


class Ladder:
    """Remembers by model and size which rung let a call through."""

    def __init__(self) -> None:
        self._helped: dict[Hashable, str] = {}

    def remembered(self, call: Call, model: str) -> str | None:
        """The rung that a call of this size needed before."""
        return self._helped.get(_size(call, model))

    def remember(self, call: Call, model: str, rung: str) -> None:
        self._helped[_size(call, model)] = rung


def rungs(call: Call, components: Mapping[str, Any]) -> list[str]:
    """What can be tried for this call."""
    vae = _vae(call, components)
    able = [rung for rung in RUNGS if hasattr(vae, rung.replace("vae_", "use_"))]
    if able and _first_tensor(call).shape[0] == 1:
        able.remove("vae_slicing")
    return [*able, "offload"]


def higher(one: str | None, other: str) -> str:
    """The rung of the two that is tried later."""
    return other if one is None else max(one, other, key=RUNGS.index)


def relief(
    rung: str | None, call: Call, components: Mapping[str, Any]
) -> AbstractContextManager[None]:
    """Let what is within need less memory, as `rung` has it; None leaves everything as it is."""
    vae = _vae(call, components)
    if rung == "offload":
        return _others_in_host_memory(vae, call, components)
    return nullcontext() if rung is None or vae is None else _vae_in_parts(vae, rung, call)


@contextmanager
def _others_in_host_memory(vae: Any, call: Call, components: Mapping[str, Any]) -> Iterator[None]:
    """With everything else of the model in the host's memory, and a VAE in tiles besides."""
    called = components.get(call.module_name.partition(".")[0])
    kept = {id(tensor) for tensor in _tensors(called)}
    parts = (part for part in components.values() if isinstance(part, torch.nn.Module))
    moved: list[tuple[torch.Tensor, torch.device]] = []
    try:
        for tensor in (each for part in parts for each in _tensors(part)):
            if id(tensor) not in kept:
                kept.add(id(tensor))
                moved.append((tensor, tensor.device))
                tensor.data = tensor.data.to("cpu", copy=True)
        free_device_memory()
        with ExitStack() as switched:
            if hasattr(vae, "use_tiling"):
                switched.enter_context(_vae_in_parts(vae, "vae_tiling", call))
            yield
    finally:
        for tensor, device in moved:
            tensor.data = tensor.data.to(device)


def _tensors(part: Any) -> Iterator[torch.Tensor]:
    if isinstance(part, torch.nn.Module):
        yield from (*part.parameters(), *part.buffers())


@contextmanager
def _vae_in_parts(vae: Any, rung: str, call: Call) -> Iterator[None]:
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


def _make_tiles_smaller(vae: Any, call: Call) -> None:
    """Tiles are by default as large as what the VAE was trained on, which may be all of it."""
    if not hasattr(vae, "tile_latent_min_size"):
        return
    encodes = call.module_name.endswith(".encode")
    tile = "tile_sample_min_size" if encodes else "tile_latent_min_size"
    largest = max(_first_tensor(call).shape[-2:])
    while getattr(vae, tile) >= largest and vae.tile_latent_min_size > _SMALLEST_TILE:
        vae.tile_latent_min_size //= 2
        vae.tile_sample_min_size //= 2


def _vae(call: Call, components: Mapping[str, Any]) -> Any:
    """The autoencoder that is called; None if another part of the model is."""
    name, _, method = call.module_name.partition(".")
    return components.get(name) if method else None


def _first_tensor(call: Call) -> torch.Tensor:
    """The latents, pixels or tokens that a module is called with."""
    values = (*call.args, *call.kwargs.values())
    firsts = (v[0] if isinstance(v, list) and v else v for v in values)
    return next(v for v in firsts if isinstance(v, torch.Tensor))


def _size(call: Call, model: str) -> Hashable:
    return (model, call.module_name, call.rows, tuple(_first_tensor(call).shape))
