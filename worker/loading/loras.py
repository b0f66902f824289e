"""Loads LoRAs into copies of the parts that they change; used by adapter_files.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from darkroom.catalog import LoraCard
from darkroom.errors import ModelLoadError
from worker.loading.adapters import copy_sharing_weights, lora_layers
from worker.loading.complaints import Complaints
from worker.loading.weights import modules_of
from worker.loading.workbench import Workbench

USUAL = "pytorch_lora_weights.safetensors"


def load(
    bench: Workbench, cards: Sequence[LoraCard]
) -> tuple[dict[str, str], dict[str, torch.nn.Module]]:
    """The LoRAs that can be used with the names that peft knows them by, and the components that
    have their layers. One that fails half-way leaves layers behind: all begin anew."""
    # Of equal length: peft and transformers look for one name within others.
    names = {card.name: f"adapter{i:03}" for i, card in enumerate(cards)}
    left = list(cards)
    while left:
        copies = _copies(bench)
        pipeline = bench.pipeline_of(copies)
        faulty = (card for card in left if not _add(bench, pipeline, card, names[card.name]))
        if failed := next(faulty, None):
            left.remove(failed)
            continue
        adapted = {name: part for name, part in copies.items() if lora_layers(part)}
        return {card.name: names[card.name] for card in left}, adapted
    return {}, {}


def _copies(bench: Workbench) -> dict[str, torch.nn.Module]:
    """Of the parts that LoRAs can change."""
    names = getattr(bench.pipeline, "_lora_loadable_modules", ())
    parts = {name: getattr(bench.pipeline, name, None) for name in names}
    return {name: copy_sharing_weights(part) for name, part in parts.items() if part is not None}


def _add(bench: Workbench, pipeline: Any, card: LoraCard, name: str) -> bool:
    """Whether the LoRA is there, which peft is to call `name`."""
    fault = f"lora:{card.name}"
    with bench.note_faults(fault, card.source) as complaints:
        if not hasattr(pipeline, "load_lora_weights"):
            raise ModelLoadError(f"{bench.kind} takes no LoRAs")
        file = bench.file(card.source, card.weight_name, USUAL)
        before = _weights(pipeline)
        pipeline.load_lora_weights(
            str(file.parent),
            weight_name=file.name,
            adapter_name=name,
            use_safetensors=True,
            local_files_only=True,
        )
        _refuse_half_loaded(complaints, name)
        if not before <= _weights(pipeline):
            raise ModelLoadError("changes the model's own layers, which others use")
        if not _layers_of(pipeline, name):
            raise ModelLoadError("does not fit: none of its weights belongs to a layer")
    return fault not in bench.faults


def _refuse_half_loaded(complaints: Complaints, name: str) -> None:
    if complaints.about("dora_scale"):
        raise ModelLoadError("is a DoRA of a kind that diffusers reads only in part")
    if any(complaints.about(words) for words in ("unexpected keys", "UNEXPECTED")):
        raise ModelLoadError("does not fit: some of its weights belong to no layer")
    if complaints.about(name):
        raise ModelLoadError("does not fit: some of its weights are missing")


def _weights(pipeline: Any) -> set[int]:
    """The identities of all parameters."""
    parts = modules_of(pipeline.components)
    return {id(each) for _, part in parts for each in part.parameters()}


def _layers_of(pipeline: Any, name: str) -> int:
    """How many layers the LoRA that peft calls `name` adds to."""
    parts = (getattr(pipeline, component, None) for component in pipeline._lora_loadable_modules)
    layers = (layer for part in parts if part is not None for layer in lora_layers(part))
    return sum(name in layer.scaling for layer in layers)
