"""Reads the LoRAs, IP-Adapters, ControlNets and textual inversions that a card adds to its model:
safetensors only, and what cannot be used harms nothing else; used by the worker's pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from worker.loading import controlnets, embeddings, ip_adapter, loras
from worker.loading.adapters import Adapters
from worker.loading.uploads import Uploads
from worker.loading.workbench import Refused, Workbench

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline


def load(
    card: ModelCard,
    catalog: Catalog,
    pipeline: DiffusionPipeline,
    refused: Refused | None = None,
) -> Adapters:
    """Load what `card` adds to the model of `pipeline`, around whose modules nothing may stand yet.
    Textual inversions change its tokenizers and text encoders, and so come before copies are made
    of these; all else is a module of its own.

    Safetensors only, no code from elsewhere. What cannot be used is a fault and harms nothing
    else; `refused` remembers such files of this model. Raises DeviceMemoryError."""
    folder = catalog.uploads
    if not (folder or card.loras or card.controlnets or card.embeddings or card.ip_adapter):
        return Adapters(model=card.name)
    bench = Workbench(catalog, pipeline, model=card.name, refused=refused)
    words = embeddings.add(bench, card.embeddings)
    layers = loras.layers_of(bench)
    names, adapted = loras.load(bench, card.loras, layers, more_may_come=folder is not None)
    reference = ip_adapter.load(bench, card.ip_adapter, adapted.get("unet"))
    both = {
        part: [each for each in (module, reference.get(part)) if isinstance(each, torch.nn.Module)]
        for part, module in adapted.items()
    }
    return Adapters(
        model=card.name,
        loras=names,
        adapted=adapted,
        reference=reference,
        controlnets=controlnets.load(bench, card.controlnets),
        embeddings=words,
        faults=dict(bench.faults),
        uploads=Uploads(card.name, folder, bench, layers, names, both) if folder else None,
    )
