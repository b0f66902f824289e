"""What a LoRA does to the layers of a model: by which formula, with which factors, how strongly;
used by loras.py, loads nothing into anything.

A layer works at its own alpha divided by its own rank. A file says alpha beside the factors, or in
the settings of diffusers or peft that come with it; who says nothing means the rank. Factors on
torch's device "meta" have shapes and no numbers: so a file is judged by its header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from darkroom.errors import ModelLoadError
from darkroom.lora_keys import BESIDE, FORMS, clip
from darkroom.model_files import PEFT_CONFIG, PEFT_FILE, read_json
from worker.loading import adapted_layers as formulas
from worker.loading.adapted_layers import Change, Formula
from worker.loading.layer_names import Layers, Target
from worker.loading.lora_keys import Said, widths

Settings = Mapping[str, Any]
Changes = Mapping[str, Mapping[str, Change]]
"""By parts of the model and names of their layers."""

_FORMULAS: tuple[tuple[str, Formula], ...] = (
    ("down", formulas.low_rank),
    ("hada_w1_a", formulas.hadamard),
    ("lokr_", formulas.kronecker),
    ("diff", formulas.whole),
    ("ia3", formulas.scaled),
    ("", formulas.nothing),
)
"""Which formula is meant by the first factor."""


def changes(found: Mapping[str, Said], layers: Layers, settings: Mapping[str, Settings]) -> Changes:
    """What a file changes; `settings` by parts of the model. Raises ModelLoadError."""
    plan: dict[str, dict[str, Change]] = {}
    for layer, said in found.items():
        for target in layers.find(layer):
            told = settings.get(target.part) or settings.get("") or {}
            try:
                change = _change(said, layers.weight(target), told, target)
            except _MisshapenError as error:
                made_for = widths(found, layers)
                raise ModelLoadError(
                    f"does not fit: {made_for}weights of another shape: {clip(layer)} {error}"
                ) from None
            except ModelLoadError as error:
                raise ModelLoadError(f"{clip(layer)} {error}") from None
            others = plan.setdefault(target.part, {})
            if (other := others.get(target.name)) and not _are_same(other, change):
                raise ModelLoadError(f"says twice what {clip(target.name)} becomes")
            others[target.name] = change
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


def _change(said: Said, weight: torch.Tensor, told: Settings, target: Target) -> Change:
    """Raises _MisshapenError, ModelLoadError."""
    form = next(form for form in FORMS if set(form) == said.keys() - BESIDE)
    for each in said.values():
        if not (each.is_floating_point() or each.numel() == 1):
            raise ModelLoadError(f"holds weights that are no floating-point numbers ({each.dtype})")
    rows = target.rows(weight)
    factors: dict[str, torch.Tensor] = {name: said[name] for name in form}
    if form == ("down", "up"):
        up = _rows(said["up"], target, rows)
        factors, rows = dict(zip(form, _shaped(said["down"], up, weight), strict=True)), None
    elif "ia3" in form or not form:
        factors = {"ia3": _per_side(said, weight, target, rows)} if form else {}
        rows = None
    change = Change(
        next(formula for mark, formula in _FORMULAS if (form or ("",))[0].startswith(mark)),
        {name: _cast(each, weight) for name, each in factors.items()},
        _strength(said, told, target.name),
        magnitude=_magnitude(said, weight, told, target),
        bias=_bias(said, weight, target),
        rows=rows or slice(None),
    )
    if form != ("down", "up"):
        _check_shape(change, weight, target)
    if not all(bool(each.isfinite().all()) for each in change.buffers() if not each.is_meta):
        dtype = str(weight.dtype).removeprefix("torch.")
        raise ModelLoadError(f"holds numbers that are not finite in {dtype} (NaN or infinite)")
    return change


def _cast(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta" if tensor.is_meta else weight.device, weight.dtype)


def _rows(tensor: torch.Tensor, target: Target, rows: slice | None) -> torch.Tensor:
    """Those of the target, of a tensor that has the rows of what the file calls one layer."""
    if rows is None or tensor.ndim == 0:
        return tensor
    if tensor.shape[0] != target.of:
        raise _MisshapenError(f"has {_sides(tensor.shape)} where the model needs {target.of} rows")
    return tensor[rows]


def _check_shape(change: Change, weight: torch.Tensor, target: Target) -> None:
    """Raises _MisshapenError if what the formula gives is not of the shape of `weight`."""
    factors = {name: each.to("meta") for name, each in change.factors.items()}
    try:
        made = change.formula(factors, weight.to("meta"))
    except (RuntimeError, IndexError):
        shapes = " and ".join(_sides(each.shape) for each in factors.values())
        raise _MisshapenError(f"has factors that do not go together: {shapes}") from None
    total = target.of if change.rows != slice(None) else weight.shape[0]
    if (*made.shape[:1], made.shape[1:].numel()) != (total, weight.shape[1:].numel()):
        wanted = _sides((total, *weight.shape[1:]))
        raise _MisshapenError(f"changes {_sides(made.shape)} where the model has {wanted}")


def _per_side(said: Said, weight: torch.Tensor, target: Target, rows: slice | None) -> torch.Tensor:
    """The numbers of an (IA)3, such that they can be multiplied with the weight."""
    numbers, ones = said["ia3"], [1] * (weight.ndim - 2)
    if "on_input" in said:
        is_of_inputs = _is_true(said["on_input"], numbers, weight)
    else:  # peft, whose numbers are factors: 1 leaves a weight as it is
        is_of_inputs, numbers = numbers.ndim > 1 and numbers.shape[0] == 1, numbers - 1
    shape = (1, weight.shape[1], *ones) if is_of_inputs else (weight.shape[0], 1, *ones)
    if not is_of_inputs:
        numbers = _rows(numbers.flatten(), target, rows)
    if numbers.numel() != shape[0] * shape[1]:
        raise _MisshapenError(
            f"has {numbers.numel()} factors where the model needs {shape[0] * shape[1]}"
        )
    return numbers.reshape(shape)


def _is_true(told: torch.Tensor, numbers: torch.Tensor, weight: torch.Tensor) -> bool:
    """What is said by a file; by its header alone, what would fit."""
    return numbers.numel() == weight.shape[1] if told.is_meta else bool(told)


def _magnitude(
    said: Said, weight: torch.Tensor, told: Settings, target: Target
) -> torch.Tensor | None:
    """The lengths of a DoRA: of rows as out x 1, or of columns as 1 x in."""
    lengths = said.get("magnitude", said.get("dora_scale"))
    if lengths is None:
        if told.get("use_dora"):
            raise ModelLoadError("is of a DoRA by its settings, and holds no lengths of weights")
        return None
    ones = [1] * (weight.ndim - 2)
    if "dora_scale" in said and lengths.ndim > 1 and lengths.shape[0] == 1 != weight.shape[0]:
        shape = (1, weight.shape[1], *ones)
    else:  # peft has those of a convolution's rows as 1 x out x 1 x 1
        shape = (weight.shape[0], 1, *ones)
        lengths = _rows(lengths.flatten(), target, target.rows(weight))
    if lengths.numel() != shape[0] * shape[1]:
        needed = shape[0] * shape[1]
        raise _MisshapenError(f"has {lengths.numel()} lengths where the model needs {needed}")
    return _cast(lengths.reshape(shape), weight)


def _bias(said: Said, weight: torch.Tensor, target: Target) -> torch.Tensor | None:
    if "diff_b" not in said:
        return None
    bias = _rows(said["diff_b"].flatten(), target, target.rows(weight))
    if bias.shape[0] != weight.shape[0]:
        told = f"has {bias.shape[0]} biases where the model needs {weight.shape[0]}"
        raise _MisshapenError(told)
    return _cast(bias, weight)


def _shaped(
    down: torch.Tensor, up: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The halves in the shapes that the layer of `weight` needs: out x in of a linear layer, out x
    in x height x width of a convolution. A convolution of one pixel is a linear layer."""
    rank = down.shape[0] if down.ndim else 0
    if rank == 0:
        raise ModelLoadError("has rank 0, and changes nothing")
    out, into, *kernel = weight.shape
    shapes = ((rank, into, *kernel), (out, rank, *(1 for _ in kernel)))
    shaped = []
    for half, shape in zip((down, up), shapes, strict=True):
        if _without_ones(half.shape) != _without_ones(shape):
            raise _MisshapenError(f"has {_sides(half.shape)} where the model needs {_sides(shape)}")
        shaped.append(half.reshape(shape))
    return shaped[0], shaped[1]


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape) or "one number"


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape as far as height and width of one pixel do not matter."""
    ones = len(shape) == 4 and shape[2:] == (1, 1)
    return tuple(shape[:2]) if ones else tuple(shape)


def _strength(said: Said, told: Settings, name: str) -> float:
    """What the formula's result is multiplied with: alpha divided by the rank, where there is
    one."""
    inner = ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b")
    rank = next((said[each].shape[0] for each in inner if each in said), None)
    if rank is None and "lokr_w1" in said and {"alpha", "r"} <= told.keys():  # by peft
        rank = int(_told(told, "rank_pattern", name, told["r"]))
    if rank is None:
        return 1.0
    if rank == 0:
        raise ModelLoadError("has rank 0, and changes nothing")
    alpha = _alpha(said["alpha"]) if "alpha" in said else _told_alpha(told, name, rank)
    return alpha / rank


def _alpha(tensor: torch.Tensor) -> float:
    if tensor.numel() != 1:
        raise ModelLoadError(f"has {tensor.numel()} numbers as its alpha, which is one number")
    return 1.0 if tensor.is_meta else _checked(float(tensor))


def _told_alpha(told: Settings, name: str, rank: int) -> float:
    """Alpha by settings of peft, made such that divided by the rank it is the strength."""
    usual = told.get("lora_alpha", told.get("alpha"))  # of a LoRA, of others
    if usual is None:
        return float(rank)
    said = _told(told, "alpha_pattern", name, usual)
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
    """As far as their numbers are known."""
    here, there = dict(one.named_buffers()), dict(other.named_buffers())
    return (
        one.strength == other.strength
        and here.keys() == there.keys()
        and all(here[n].is_meta or torch.equal(here[n], there[n]) for n in here)
    )
