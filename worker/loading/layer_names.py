"""Every name that trainers of LoRAs have for a model's layers; used by loras.py, opens no files.

What a name means is decided by the model's own layers: all their names are compared with dots read
as underscores, as the oldest trainer wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from darkroom.networks import main_names
from worker.loading.flux_names import flux_names

PREFIXES: dict[str, str | None] = {
    "base_model_model_": None,
    "lycoris_": None,
    "lora_unet_": "network",
    "unet_": "network",
    "lora_transformer_": "network",
    "transformer_": "network",
    "diffusion_model_": "network",
    "model_diffusion_model_": "network",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "text_encoder_": "text_encoder",
    "text_encoders_clip_l_transformer_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "text_encoder_2_": "text_encoder_2",
    "text_encoders_clip_g_transformer_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "text_encoder_3_": "text_encoder_3",
}
"""What stands before a layer's name, in any order, and which part of a model it speaks of: kohya's
and OneTrainer's names, diffusers' and peft's, ComfyUI's."""


class Target(NamedTuple):
    """A layer, or what of the rows that a file has for one layer is this one's."""

    part: str
    name: str
    first: int = 0
    of: int = 0
    """How many rows the file has; 0: the layer's own."""

    def rows(self, weight: torch.Tensor) -> slice | None:
        """Those of the layer of `weight`; None: all there are."""
        return slice(self.first, self.first + weight.shape[0]) if self.of else None


Places = Sequence[Target]


@dataclass(frozen=True)
class Layers:
    """The layers of a model that LoRAs can change, by every name that trainers have for them."""

    parts: Mapping[str, torch.nn.Module]
    _names: dict[str, dict[str, Places]] = field(default_factory=dict)
    _weights: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part, module in self.parts.items():
            self._weights.update(((part, n), m.weight) for n, m in _layers(module))
            named = {flat(other): (Target(part, name),) for other, name in _names(module)}
            self._names[part] = {**_joined(part, module), **named}

    def find(self, layer: str) -> Places:
        """What a file calls `layer`: several where it has one for what are several in the model,
        none for what the model does not have."""
        return self._find(flat(layer), None)

    def _find(self, name: str, part: str | None) -> Places:
        parts = [part] if part else list(self.parts)
        found = {each: self._names[each][name] for each in parts if name in self._names[each]}
        if found:
            # Without a prefix what two text encoders have is neither's.
            network = next((found[each] for each in found if each in main_names()), None)
            return network or (next(iter(found.values())) if len(found) == 1 else ())
        for prefix, means in PREFIXES.items():
            if name.startswith(prefix):
                within = self._part(means, part)
                if within is not _ABSENT and (
                    other := self._find(name.removeprefix(prefix), within)
                ):
                    return other
        return ()

    def _part(self, means: str | None, part: str | None) -> Any:
        if means is None:
            return part
        if means == "network":
            return next((name for name in main_names() if name in self.parts), _ABSENT)
        return means if means in self.parts else _ABSENT

    def weight(self, target: Target) -> torch.Tensor:
        return self._weights[target.part, target.name]


def _joined(part: str, module: torch.nn.Module) -> dict[str, Places]:
    """Names of layers that are several in the model."""
    sizes = {name: layer.weight.shape[0] for name, layer in _layers(module)}
    places: dict[str, Places] = {}
    for other, names in flux_names(sizes):
        total = sum(sizes[name] for name in names)
        first = [sum(sizes[name] for name in names[:index]) for index in range(len(names))]
        is_one = len(names) == 1
        places[flat(other)] = tuple(
            Target(part, name) if is_one else Target(part, name, at, total)
            for name, at in zip(names, first, strict=True)
        )
    return places


_ABSENT = object()


def flat(name: str) -> str:
    """A name with its dots read as underscores."""
    return name.replace(".", "_")


def _layers(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Linear | torch.nn.Conv2d]]:
    for name, layer in module.named_modules():
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
            yield name, layer


def _names(module: torch.nn.Module) -> Iterator[tuple[str, str]]:
    """Every name of each layer of `module`, with its own."""
    per_block = getattr(getattr(module, "config", None), "layers_per_block", None)
    for name, _ in _layers(module):
        yield name, name
        block, _, last = name.rpartition(".attn1." if ".attn1." in name else ".attn2.")
        if block:  # as diffusers wrote it first
            kept = name.removesuffix(last) + "processor."
            yield kept + last.removesuffix(".0"), name
        if old := TEXT_LAYERS.get(name.rpartition(".")[2]):
            yield name.rpartition(".")[0] + "." + old, name
        yield from _with_text_model(name)
        if isinstance(per_block, int) and (ldm := _ldm_name(name, per_block, module)):
            yield ldm, name


TEXT_LAYERS = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
"""How diffusers first called the layers of text encoders."""


def _with_text_model(name: str) -> Iterator[tuple[str, str]]:
    """transformers kept CLIP's layers in `text_model`, and in later versions does not."""
    other = name.removeprefix("text_model.") if name.startswith("text_model.") else ""
    other = other or (f"text_model.{name}" if name.startswith("encoder.") else "")
    if not other:
        return
    yield other, name
    layer, _, last = other.rpartition(".")
    if old := TEXT_LAYERS.get(last):
        yield f"{layer}.{old}", name


_BLOCK = re.compile(
    r"(?P<where>down|mid|up)_blocks?\.(?:(?P<block>\d+)\.)?"
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<at>\d+)\.(?P<rest>.+)"
)
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def _ldm_name(name: str, per_block: int, unet: torch.nn.Module) -> str | None:
    """The name of a UNet's layer in the code that Stable Diffusion was first published with, which
    trainers of SDXL use: blocks are counted through."""
    if not (match := _BLOCK.fullmatch(name)):
        return _OUTSIDE_BLOCKS.get(name)
    kind, rest, at = match["kind"], match["rest"], int(match["at"])
    if kind == "resnets":
        rest = _RESNET.get(rest, rest)
    if match["where"] == "mid":
        return f"middle_block.{2 * at if kind == 'resnets' else 1}.{rest}"
    block, every = int(match["block"]), per_block + 1
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * every}.0.op"
    if kind == "upsamplers":
        attends = getattr(unet.get_submodule(f"up_blocks.{block}"), "attentions", None)
        return f"output_blocks.{(block + 1) * every - 1}.{2 if attends else 1}.{rest}"
    inner = 0 if kind == "resnets" else 1
    if match["where"] == "down":
        return f"input_blocks.{block * every + at + 1}.{inner}.{rest}"
    return f"output_blocks.{block * every + at}.{inner}.{rest}"
