"""Loads ControlNets that fit a model; used by adapter_files.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import diffusers
import torch

from darkroom.cards import ControlNetCard
from darkroom.current_adapters import place
from darkroom.errors import ModelLoadError
from darkroom.model_files import CONFIG, PartFiles
from darkroom.weight_headers import read_header
from worker.loading import controlnet_files
from worker.loading.complaints import Complaints
from worker.loading.weights import task_classes
from worker.loading.workbench import Workbench, refuse_not_finite

if TYPE_CHECKING:
    # diffusers loads its parts when they are first named, slowly and leaving files.
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

# A ControlNet fits a network if these are equal, as far as both have them.
TRAITS = (
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "addition_embed_type",
    "inner_dim",
    "joint_attention_dim",
    "pooled_projection_dim",
)


def load(bench: Workbench, cards: Sequence[ControlNetCard]) -> dict[str, torch.nn.Module]:
    """The ControlNets that can be used, by the names that requests know them by."""
    loaded = {}
    for card in cards:
        with bench.note_faults(f"controlnet:{card.name}", place(card)) as complaints:
            loaded[card.name] = _load(bench, card, complaints)
    return {name: net for name, net in loaded.items() if f"controlnet:{name}" not in bench.faults}


def _load(bench: Workbench, card: ControlNetCard, complaints: Complaints) -> torch.nn.Module:
    if file := bench.single(card.source):
        net = controlnet_files.read(file, bench.network, bench.kind)
    else:
        net = _of_folder(bench, card)
    complaints.refuse_missing()
    _check_traits(net, bench.network)
    refuse_not_finite(net.parameters(), bench.network.dtype)
    moved: torch.nn.Module = net.to(bench.network.device)
    return moved


def _of_folder(bench: Workbench, card: ControlNetCard) -> torch.nn.Module:
    folder = bench.folder(card.source, CONFIG, card.revision, card.variant)
    name = diffusers.ControlNetModel.load_config(folder).get("_class_name")
    takers = task_classes(bench.kind, controlled=True)
    if not takers:
        raise ModelLoadError(f"{bench.kind} takes no ControlNets")
    if name not in _classes_of(next(iter(takers.values())), "controlnet"):
        raise ModelLoadError(f"a {name} does not work with {bench.kind}")
    net: torch.nn.Module = getattr(diffusers, name).from_pretrained(
        folder,
        variant=card.variant,
        dtype=bench.network.dtype,
        use_safetensors=True,
        **_with_masks(PartFiles(folder), card.variant),
    )
    return net


def _with_masks(files: PartFiles, variant: str | None) -> dict[str, int]:
    """What the configuration of Stable Diffusion 3's ControlNets for inpainting leaves out: by how
    many channels, those of the mask, they take in more than latents."""
    for file in files.weights(variant):
        into = read_header(file).get("pos_embed_input.proj.weight")
        latents = files.config.get("in_channels")
        if into is not None and len(into.shape) == 4 and isinstance(latents, int):
            return {"extra_conditioning_channels": into.shape[1] - latents}
    return {}


def _classes_of(cls: type[DiffusionPipeline], part: str) -> set[str]:
    """Names of the classes that a pipeline takes as `part`."""
    annotation = inspect.signature(cls.__init__).parameters[part].annotation
    return set(re.findall(r"\w+", str(annotation)))


def _check_traits(net: Any, network: Any) -> None:
    for name in TRAITS:
        theirs, own = _trait(net, name), _trait(network, name)
        unknown = None in (theirs, own) and name != "addition_embed_type"
        if theirs != own and not unknown:
            raise ModelLoadError(f"does not fit: its {name} is {theirs}, the model's {own}")


def _trait(module: Any, name: str) -> Any:
    value = module.config.get(name, getattr(module, name, None))
    return tuple(value) if isinstance(value, list) else value
