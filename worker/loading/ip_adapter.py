"""Loads an IP-Adapter into a copy of a model's UNet; used by adapter_files.py."""

from __future__ import annotations

import re
from typing import Any

import torch
from safetensors.torch import load_file

from darkroom.cards import IPAdapterCard
from darkroom.current_adapters import place
from darkroom.errors import ModelLoadError
from darkroom.file_kinds import IP_ADAPTER
from darkroom.lora_keys import some
from darkroom.model_files import CONFIG
from worker.loading.adapted_layers import copy_sharing_weights
from worker.loading.complaints import Complaints
from worker.loading.workbench import Workbench, refuse_not_finite

PARTS = ("unet", "image_encoder", "feature_extractor")
"""The components that jobs with reference images have of their own, by their names in diffusers,
which knows IP-Adapters of this kind for UNets only."""

_USED = re.compile(r"image_proj\..+|ip_adapter\.\d+\.to_[kv]_ip\.weight")


def load(
    bench: Workbench, card: IPAdapterCard | None, adapted: torch.nn.Module | None
) -> dict[str, Any]:
    """The components for jobs with reference images; `adapted` is the UNet with LoRA layers."""
    if card is None:
        return {}
    found: dict[str, Any] = {}
    with bench.note_faults("ip_adapter", place(card)) as complaints:
        found = _load(bench, card, adapted, complaints)
    return {} if "ip_adapter" in bench.faults else found


def _load(
    bench: Workbench, card: IPAdapterCard, adapted: torch.nn.Module | None, complaints: Complaints
) -> dict[str, Any]:
    own = bench.pipeline
    plain = getattr(own, "unet", None)
    if plain is None or not hasattr(own, "load_ip_adapter"):
        raise ModelLoadError(f"{bench.kind} takes no reference images")
    name = f"{card.subfolder}/{card.weight_name}".lstrip("/")
    file = bench.file(card.source, name, "", IP_ADAPTER, wanted="IP-Adapter")
    tensors = load_file(file)
    keys = list(tensors)
    if any("_lora." in key for key in keys):
        raise ModelLoadError("works on faces found by another program (FaceID), not pictures")
    unet: Any = copy_sharing_weights(plain if adapted is None else adapted)
    layers = sum(not name.endswith("attn1.processor") for name in unet.attn_processors)
    theirs = sum(key.endswith("to_k_ip.weight") for key in keys)
    if theirs != layers:
        raise ModelLoadError(f"does not fit: made for {theirs} layers, the model has {layers}")
    if others := [key for key in keys if not _USED.fullmatch(key)]:
        raise ModelLoadError(f"is of a kind that is not read: it holds {some(others)}")
    refuse_not_finite(tensors.values(), unet.dtype)
    encoder = _image_encoder(bench, card)
    complaints.refuse_missing()
    pipeline: Any = bench.pipeline_of({"unet": unet, "image_encoder": encoder})
    pipeline.load_ip_adapter(
        str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder=None
    )
    parts = {name: getattr(pipeline, name) for name in PARTS}
    return {name: part for name, part in parts.items() if part is not getattr(own, name)}


def _image_encoder(bench: Workbench, card: IPAdapterCard) -> torch.nn.Module:
    from transformers import CLIPVisionModelWithProjection

    if card.image_encoder is None:
        own: torch.nn.Module | None = getattr(bench.pipeline, "image_encoder", None)
        if own is None:
            raise ModelLoadError("the model has no image encoder; name one: image_encoder")
        return own
    encoder: Any = CLIPVisionModelWithProjection.from_pretrained(
        bench.folder(card.source, f"{card.image_encoder}/{CONFIG}"),
        use_safetensors=True,
        dtype=bench.network.dtype,
    )
    moved: torch.nn.Module = encoder.to(bench.network.device)
    return moved
