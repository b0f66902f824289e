"""Loads LoRAs into copies of the parts that they change; used by adapter_files.py.

What a file changes and how strongly is found out here: the converters of diffusers lose alphas and
drop what they have no name for. They are asked only about names that no layer of the model has:
those of transformers where they were first published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from darkroom.cards import LoraCard
from darkroom.current_adapters import place
from darkroom.errors import ModelLoadError
from darkroom.file_kinds import LORA, WEIGHTS
from darkroom.lora_keys import read_keys
from worker.loading.adapted_layers import adapt, copy_sharing_weights
from worker.loading.layer_names import Layers
from worker.loading.lora_changes import Changes, Settings, changes, settings_of
from worker.loading.lora_keys import Said, as_kohya, misfit, without_alphas
from worker.loading.workbench import Workbench

USUAL = "pytorch_lora_weights.safetensors"

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""Of floating point, by the names of the format."""


def load(
    bench: Workbench, cards: Sequence[LoraCard], layers: Layers, *, more_may_come: bool = False
) -> tuple[dict[str, str], dict[str, torch.nn.Module]]:
    """The LoRAs that can be used, with the names that layers know them by, and the components that
    have these layers; with `more_may_come` all that could have some. Nothing is changed by a file
    that does not fit in all its parts."""
    plans: dict[str, Changes] = {}
    for card in cards:
        with bench.note_faults(f"lora:{card.name}", place(card)):
            plans[card.name] = read(bench, card, layers)
    plans = {name: plan for name, plan in plans.items() if f"lora:{name}" not in bench.faults}
    changed = layers.parts.keys() if more_may_come else {p for plan in plans.values() for p in plan}
    adapted = {part: copy_sharing_weights(layers.parts[part]) for part in sorted(changed)}
    names = {name: f"lora{number}" for number, name in enumerate(plans)}
    for name, plan in plans.items():
        for part, each in plan.items():
            for layer, change in each.items():
                adapt(adapted[part].get_submodule(layer)).add(names[name], change)
    return names, adapted


def layers_of(bench: Workbench) -> Layers:
    """The layers that LoRAs can change."""
    return Layers(_parts(bench))


def _parts(bench: Workbench) -> dict[str, torch.nn.Module]:
    """The parts that LoRAs can change."""
    names = getattr(bench.pipeline, "_lora_loadable_modules", ())
    parts = {name: getattr(bench.pipeline, name, None) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


def read(bench: Workbench, card: LoraCard, layers: Layers) -> Changes:
    """What a LoRA changes. Raises ModelLoadError."""
    if not hasattr(bench.pipeline, "load_lora_weights"):
        raise ModelLoadError(f"{bench.kind} takes no LoRAs")
    file = bench.file(card.source, card.weight_name, USUAL, LORA, WEIGHTS, wanted="LoRA")
    with bench.remember_refusal(file):
        settings = settings_of(file)
        with suppress(_UndecidedError):
            _changes(bench, _without_numbers(file), settings, layers)
        return _changes(bench, _tensors(file), settings, layers)


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    """Copies of its tensors: as they are read they are pages of the file, and change with it when
    another is copied over it."""
    return {name: each.clone() for name, each in load_file(file).items()}


def _without_numbers(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file as its header tells of them, by which most files that do not fit are
    refused in milliseconds."""
    made = {}
    with safe_open(file, framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118  # it is no mapping
            told = opened.get_slice(name)
            dtype = _DTYPES.get(told.get_dtype(), torch.uint8)
            made[name] = torch.empty(told.get_shape(), dtype=dtype, device="meta")
    return made


def _changes(
    bench: Workbench,
    tensors: Mapping[str, torch.Tensor],
    settings: Mapping[str, Settings],
    layers: Layers,
) -> Changes:
    """What a file of these tensors changes. Raises ModelLoadError, _UndecidedError."""
    found = read_keys(tensors)
    if _unknown(found, layers) and "transformer" in layers.parts:
        found = _converted(bench.pipeline, tensors, found, layers)
    if unknown := _unknown(found, layers):
        raise ModelLoadError(misfit(found, unknown, layers, bench.kind))
    return changes(found, layers, settings)


def _unknown(found: Mapping[str, Said], layers: Layers) -> list[str]:
    return [name for name in found if not layers.find(name)]


class _UndecidedError(Exception):
    """A converter needs the numbers."""


def _converted(
    pipeline: Any,
    tensors: Mapping[str, torch.Tensor],
    found: dict[str, Said],
    layers: Layers,
) -> dict[str, Said]:
    """What a file says in the names that diffusers has for it, if it has any. Factors are given
    with their strength in them: alphas would be lost. Raises _UndecidedError."""
    if any(said.keys() - {"down", "up", "alpha"} for said in found.values()):
        return found
    plain = without_alphas(tensors, found)
    needs_numbers = False
    for way in (plain, as_kohya(plain)):
        try:
            other = read_keys(pipeline.lora_state_dict(dict(way)))
        # Whatever a converter stumbles over: it was written for other files.
        except (ModelLoadError, ValueError, LookupError, TypeError, AssertionError):
            continue
        except RuntimeError:
            needs_numbers |= any(each.is_meta for each in tensors.values())
            continue
        if not _unknown(other, layers):
            return other
    if needs_numbers:
        raise _UndecidedError
    return found
