"""What a LoRA does to the layers of a model: two factors for each, and how strongly they work; used
by loras.py, loads nothing into anything.

A layer works at its own alpha divided by its own rank. A file says alpha beside the factors, or in
the settings of diffusers or peft that come with it; who says nothing means the rank.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from darkroom.errors import ModelLoadError
from darkroom.model_files import PEFT_CONFIG, PEFT_FILE, read_json
from worker.loading.layer_names import Layers
from worker.loading.lora_keys import Halves, clip, widths

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """How a LoRA changes the weights of one layer: by `up` times `down`, times alpha divided by
    their rank."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])


Changes = Mapping[str, Mapping[str, Change]]
"""By parts of the model and names of their layers."""


def changes(
    found: Mapping[str, Halves], layers: Layers, settings: Mapping[str, Settings]
) -> Changes:
    """What a file changes; `settings` by parts of the model. Raises ModelLoadError."""
    plan: dict[str, dict[str, Change]] = {}
    for layer, each in found.items():
        part, name = layers.find(layer) or ("", "")
        told = settings.get(part) or settings.get("") or {}
        try:
            change = _change(each, layers.weight(part, name), told, name)
        except _MisshapenError as error:
            made_for = widths(found, layers)
            raise ModelLoadError(
                f"does not fit: {made_for}weights of another shape: {clip(layer)} {error}"
            ) from None
        except ModelLoadError as error:
            raise ModelLoadError(f"{clip(layer)} {error}") from None
        if (other := plan.setdefault(part, {}).get(name)) and not _are_same(other, change):
            raise ModelLoadError(f"says twice what {clip(name)} becomes")
        plan[part][name] = change
    return plan


def settings_of(file: Path) -> Mapping[str, Settings]:
    """What diffusers wrote into a file, or peft beside it, of how its LoRA was trained: by parts
    of the model, or for all by the empty name."""
    with safe_open(file, framework="pt") as opened:
        written = (opened.metadata() or {}).get("lora_adapter_metadata")
    if written is None:
        beside = read_json(file.with_name(PEFT_CONFIG)) if file.name == PEFT_FILE else {}
        return {"": beside} if beside else {}
    try:
        content = json.loads(written)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ModelLoadError("its settings (lora_adapter_metadata) are damaged")
    settings: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        part, _, field = key.rpartition(".")
        settings.setdefault(part, {})[field] = value
    return settings


class _MisshapenError(Exception):
    """The message goes after the name of a layer."""


def _change(found: Halves, weight: torch.Tensor, told: Settings, name: str) -> Change:
    assert found.down is not None, "halves are pairs by now"
    assert found.up is not None, "halves are pairs by now"
    down, up = _shaped(found.down, found.up, weight)
    rank = down.shape[0]
    alpha = _alpha(found.alpha) if found.alpha is not None else _told_alpha(told, name, rank)
    cast = [half.to(weight.device, weight.dtype) for half in (down, up)]
    if not all(bool(half.isfinite().all()) for half in cast):
        dtype = str(weight.dtype).removeprefix("torch.")
        raise ModelLoadError(f"holds numbers that are not finite in {dtype} (NaN or infinite)")
    return Change(cast[0], cast[1], alpha)


def _shaped(
    down: torch.Tensor, up: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The halves in the shapes that the layer of `weight` needs: out x in of a linear layer, out x
    in x height x width of a convolution. A convolution of one pixel is a linear layer."""
    if not (down.is_floating_point() and up.is_floating_point()):
        raise ModelLoadError(f"holds weights that are no floating-point numbers ({down.dtype})")
    rank = down.shape[0] if down.ndim else 0
    if rank == 0:
        raise ModelLoadError("has rank 0, and changes nothing")
    out, into, *kernel = weight.shape
    shapes = ((rank, into, *kernel), (out, rank, *(1 for _ in kernel)))
    shaped = []
    for half, shape in zip((down, up), shapes, strict=True):
        if _without_ones(half.shape) != _without_ones(shape):
            told = [" x ".join(str(side) for side in each) for each in (half.shape, shape)]
            raise _MisshapenError(f"has {told[0] or 'one number'} where the model needs {told[1]}")
        shaped.append(half.reshape(shape))
    return shaped[0], shaped[1]


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape as far as height and width of one pixel do not matter."""
    ones = len(shape) == 4 and shape[2:] == (1, 1)
    return tuple(shape[:2]) if ones else tuple(shape)


def _alpha(tensor: torch.Tensor) -> float:
    if tensor.numel() != 1:
        raise ModelLoadError(f"has {tensor.numel()} numbers as its alpha, which is one number")
    return _checked(float(tensor))


def _told_alpha(told: Settings, name: str, rank: int) -> float:
    """Alpha by settings of peft, made such that divided by the rank it is the strength."""
    if told.get("use_dora"):
        raise ModelLoadError("is of a DoRA by its settings, which is not supported")
    if "lora_alpha" not in told:
        return float(rank)
    said = _told(told, "alpha_pattern", name, told["lora_alpha"])
    ranks = _told(told, "rank_pattern", name, told.get("r", rank))
    if ranks != rank:
        raise ModelLoadError(f"has rank {rank}, and by its settings {ranks}")
    return _checked(said * math.sqrt(rank) if told.get("use_rslora") else said)


def _told(told: Settings, pattern: str, name: str, otherwise: Any) -> float:
    """A number that settings may give for layers whose names end in a certain way."""
    patterns = told.get(pattern) or {}
    if not isinstance(patterns, dict):
        raise ModelLoadError(f"has a {pattern} in its settings that is no table")
    value = otherwise
    for key, number in patterns.items():
        if f".{name}".endswith("." + key.removeprefix("^").removesuffix("$")):
            value = number
            break
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelLoadError("has an alpha or a rank in its settings that is no number")
    return float(value)


def _checked(alpha: float) -> float:
    if not math.isfinite(alpha):
        raise ModelLoadError(f"has {alpha} as its alpha")
    if alpha == 0:
        raise ModelLoadError(
            "has alpha 0, which some programs read as no effect and others as full strength; "
            "write the rank in its place for full strength"
        )
    return alpha


def _are_same(one: Change, other: Change) -> bool:
    return (
        one.alpha == other.alpha
        and torch.equal(one.down, other.down)
        and torch.equal(one.up, other.up)
    )
