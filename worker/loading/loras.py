"""Loads LoRAs into copies of the parts that they change; used by adapter_files.py.

What a file changes and how strongly is found out here, and given to peft layer by layer: the
converters of diffusers lose alphas and drop what they have no name for. They are asked only about
names that no layer of the model has: those of transformers where they were first published.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load_file

from darkroom.cards import LoraCard
from darkroom.errors import ModelLoadError
from darkroom.file_kinds import LORA, WEIGHTS
from worker.loading.adapters import copy_sharing_weights
from worker.loading.layer_names import Layers
from worker.loading.lora_changes import Change, Changes, changes, settings_of
from worker.loading.lora_keys import Halves, as_kohya, halves, misfit, without_alphas
from worker.loading.workbench import Workbench

USUAL = "pytorch_lora_weights.safetensors"


def load(
    bench: Workbench, cards: Sequence[LoraCard]
) -> tuple[dict[str, str], dict[str, torch.nn.Module]]:
    """The LoRAs that can be used with the names that peft knows them by, and the components that
    have their layers. Nothing is changed before all files were read and found to fit; should peft
    fail half-way all the same, it leaves layers behind: all begin anew."""
    layers = Layers(_parts(bench))
    plans: dict[LoraCard, Changes] = {}
    for card in cards:
        with bench.note_faults(f"lora:{card.name}", card.source):
            plans[card] = _read(bench, card, layers)
    plans = {card: plan for card, plan in plans.items() if f"lora:{card.name}" not in bench.faults}
    while plans:
        changed = sorted({part for plan in plans.values() for part in plan})
        adapted = {part: copy_sharing_weights(layers.parts[part]) for part in changed}
        # Of equal length: peft and transformers look for one name within others.
        names = {card: f"adapter{i:03}" for i, card in enumerate(plans)}
        faulty = (c for c, plan in plans.items() if not _put(bench, c, adapted, names[c], plan))
        if (failed := next(faulty, None)) is None:
            return {card.name: name for card, name in names.items()}, adapted
        del plans[failed]
    return {}, {}


def _parts(bench: Workbench) -> dict[str, torch.nn.Module]:
    """The parts that LoRAs can change."""
    names = getattr(bench.pipeline, "_lora_loadable_modules", ())
    parts = {name: getattr(bench.pipeline, name, None) for name in names}
    return {name: part for name, part in parts.items() if part is not None}


def _read(bench: Workbench, card: LoraCard, layers: Layers) -> Changes:
    """What a LoRA changes. Raises ModelLoadError."""
    if not hasattr(bench.pipeline, "load_lora_weights"):
        raise ModelLoadError(f"{bench.kind} takes no LoRAs")
    file = bench.file(card.source, card.weight_name, USUAL, LORA, WEIGHTS, wanted="LoRA")
    tensors = load_file(file)
    found: Mapping[str, Halves] = halves(tensors)
    if _unknown(found, layers) and "transformer" in layers.parts:
        found = _converted(bench.pipeline, tensors, found, layers)
    if unknown := _unknown(found, layers):
        raise ModelLoadError(misfit(found, unknown, layers, bench.kind))
    return changes(found, layers, settings_of(file))


def _unknown(found: Mapping[str, Halves], layers: Layers) -> list[str]:
    return [name for name in found if layers.find(name) is None]


def _converted(
    pipeline: Any,
    tensors: Mapping[str, torch.Tensor],
    found: Mapping[str, Halves],
    layers: Layers,
) -> Mapping[str, Halves]:
    """What a file says in the names that diffusers has for it, if it has any. Factors are given
    with their strength in them: alphas would be lost."""
    plain = without_alphas(tensors, found)
    for way in (plain, as_kohya(plain)):
        try:
            other = halves(pipeline.lora_state_dict(dict(way)))
        # Whatever a converter stumbles over: it was written for other files.
        except (ModelLoadError, ValueError, LookupError, TypeError, AssertionError, RuntimeError):
            continue
        if not _unknown(other, layers):
            return other
    return found


def _put(
    bench: Workbench,
    card: LoraCard,
    adapted: Mapping[str, torch.nn.Module],
    name: str,
    plan: Changes,
) -> bool:
    """Whether the LoRA is in the parts that it changes."""
    fault = f"lora:{card.name}"
    with bench.note_faults(fault, card.source):
        for part, each in plan.items():
            _inject(adapted[part], name, each)
    return fault not in bench.faults


def _inject(part: torch.nn.Module, name: str, plan: Mapping[str, Change]) -> None:
    """Give the layers of `part` a LoRA that peft is to call `name`."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict  # slow

    rank, ranks = _patterns(plan, lambda change: change.rank)
    alpha, alphas = _patterns(plan, lambda change: change.alpha)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        rank_pattern=ranks,
        alpha_pattern=alphas,
        target_modules=list(plan),
        inference_mode=True,
    )
    state: dict[str, torch.Tensor] = {}
    for layer, change in plan.items():
        state |= {f"{layer}.lora_A.weight": change.down, f"{layer}.lora_B.weight": change.up}
    inject_adapter_in_model(config, part, name, low_cpu_mem_usage=True, state_dict=state)
    set_peft_model_state_dict(part, state, adapter_name=name, low_cpu_mem_usage=True)
    _check_injected(part, name, plan)


def _patterns(
    plan: Mapping[str, Change], told: Callable[[Change], float]
) -> tuple[Any, dict[str, Any]]:
    """The commonest value, and one pattern for all layers of each other: peft tries every pattern
    on every layer."""
    layers = defaultdict(list)
    for layer, change in plan.items():
        layers[told(change)].append(re.escape(layer))
    usual = max(layers, key=lambda value: len(layers[value]))
    others = {value: names for value, names in layers.items() if value != usual}
    return usual, {f"^(?:{'|'.join(names)})": value for value, names in others.items()}


def _check_injected(part: torch.nn.Module, name: str, plan: Mapping[str, Change]) -> None:
    """Every layer has its own factors and strength, and no other layer has any: what peft makes of
    patterns and names has changed before."""
    have = {
        layer: module
        for layer, module in part.named_modules()
        if name in getattr(module, "scaling", ())
    }
    for layer, change in plan.items():
        module: Any = have.pop(layer, None)
        if module is None or not (
            math.isclose(module.scaling[name], change.alpha / change.rank)
            and torch.equal(module.lora_A[name].weight, change.down)
            and torch.equal(module.lora_B[name].weight, change.up)
        ):
            raise ModelLoadError(f"could not be put into the layer {layer} as it is")
    if have:
        raise ModelLoadError(f"would change a layer that it says nothing of: {next(iter(have))}")
