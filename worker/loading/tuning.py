"""Options of a model's card that change how its networks run: attention, VAE, compiling.

Used when the worker loads a model, knows no jobs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import torch

from darkroom import logs
from darkroom.errors import ModelLoadError
from darkroom.model_card import ModelCard
from darkroom.networks import network_of
from worker.loading.complaints import first_lines

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

log = logs.get("tuning")

_FAULT = "compile_fault"
"""The attribute in which a network that was to be compiled says why it is not."""


def tune(pipeline: DiffusionPipeline, card: ModelCard) -> None:
    """Apply the options of `card`, but for compiling, which waits until adapters have made their
    copies. Raises ModelLoadError for what this model cannot do."""
    if card.attention:
        _choose_attention(_network(pipeline), card.attention)
    for option in ("slicing", "tiling"):
        if getattr(card, f"vae_{option}"):
            _switch_on(getattr(pipeline, "vae", None), option)
    if card.compile:
        _network(pipeline)


def compile_network(network: torch.nn.Module) -> None:
    """Let torch compile `network` when it is called: its repeated blocks where its class names
    them, which is many times faster to compile than the whole. What cannot be compiled runs as it
    is written; `compile_fault` tells."""
    names = getattr(network, "_repeated_blocks", None) or ()
    blocks = [each for each in network.modules() if type(each).__name__ in names]
    vars(network)[_FAULT] = None
    for each in blocks or [network]:
        _compile_forward(each, network)


def compile_fault(components: Mapping[str, Any]) -> str | None:
    """Why a network that was to be compiled is not, as far as it was called."""
    networks = (each for each in components.values() if isinstance(each, torch.nn.Module))
    return next(filter(None, (vars(each).get(_FAULT) for each in networks)), None)


class Compiling:
    """A context that tells of what torch compiles in this process meanwhile: by whichever call, as
    torch compiles anew for arguments unlike those before, such as another size."""

    def __init__(self, begins: Callable[[], object] = lambda: None) -> None:
        """`begins` is called before the first time."""
        self.seconds = 0.0
        """How long it took, all together; 0.0 if nothing was compiled."""
        self._begins: Callable[[], object] | None = begins
        self._since = 0.0

    def __enter__(self) -> Self:
        torch._dynamo.callback_handler.register_start_callback(self._on_start)
        torch._dynamo.callback_handler.register_end_callback(self._on_end)
        return self

    def __exit__(self, *_: object) -> None:
        torch._dynamo.callback_handler.remove_start_callback(self._on_start)
        torch._dynamo.callback_handler.remove_end_callback(self._on_end)

    def _on_start(self, _: object) -> None:
        self._since = time.monotonic()
        if self._begins is not None:
            begins, self._begins = self._begins, None
            begins()

    def _on_end(self, _: object) -> None:
        self.seconds += time.monotonic() - self._since


def _compile_forward(module: torch.nn.Module, network: torch.nn.Module) -> None:
    plain = module.forward
    compiled = torch.compile(plain)

    @functools.wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        if vars(network)[_FAULT] is None:
            try:
                return compiled(*args, **kwargs)
            except torch._dynamo.exc.TorchDynamoException as error:
                vars(network)[_FAULT] = reason = first_lines(error)
                log.warning("compile_failed", network=type(network).__name__, reason=reason)
        return plain(*args, **kwargs)

    module.forward = forward


def _network(pipeline: DiffusionPipeline) -> torch.nn.Module:
    if (network := network_of(pipeline)) is None:
        raise ModelLoadError(f"{type(pipeline).__name__} has no network whose running can be tuned")
    return network


def _choose_attention(network: Any, name: str) -> None:
    """For this network only: diffusers also sets what all other models use by default."""
    from diffusers.models.attention_dispatch import (  # imports more of diffusers than it says
        AttentionBackendName,
        _AttentionBackendRegistry,
    )

    # Those of the hub download code, and run it.
    known = sorted(each.value for each in AttentionBackendName if not each.value.endswith("_hub"))
    if name not in known:
        raise ModelLoadError(f"attention {name!r} is none of {', '.join(known)}")
    processors = getattr(network, "attn_processors", {}).values()
    takers = [each for each in processors if hasattr(each, "_attention_backend")]
    if not takers:
        raise ModelLoadError(
            f"attention: {type(network).__name__} does not let its attention be chosen"
        )
    before = _AttentionBackendRegistry._active_backend
    try:
        network.set_attention_backend(name)
    except (RuntimeError, ImportError, ValueError) as error:
        raise ModelLoadError(f"attention {name!r} cannot be used here: {error}") from None
    finally:
        _AttentionBackendRegistry.set_active_backend(before)


def _switch_on(vae: torch.nn.Module | None, option: str) -> None:
    if not hasattr(vae, f"use_{option}"):
        what = "there is no VAE" if vae is None else f"{type(vae).__name__} cannot"
        raise ModelLoadError(f"vae_{option}: {what}")
    setattr(vae, f"use_{option}", True)
