"""What a LoRA says in the names that diffusers' converters know, and for which model it was made
instead of this one; used by loras.py, opens no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from darkroom.lora_keys import factor, some
from darkroom.networks import main_names
from worker.loading.layer_names import Layers, flat

FAMILIES = {
    "double_blocks": "Flux",
    "single_transformer_blocks": "Flux",
    "joint_blocks": "Stable Diffusion 3",
    "lora_te2": "SDXL",
}
OF_UNETS = dict.fromkeys(("down_blocks", "input_blocks"), "Stable Diffusion 1 or 2 or SDXL")
"""What names of layers tell the family of, and those of which every model with a UNet has some."""
WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "SDXL"}
"""Whose text embeddings have how many numbers."""

Said = Mapping[str, torch.Tensor]
"""What a file says of one layer, as `read_keys` has it."""


def without_alphas(
    tensors: Mapping[str, torch.Tensor], found: Mapping[str, Said]
) -> dict[str, torch.Tensor]:
    """The factors of a LoRA with their strength in them, under the names that the file has for
    them."""
    plain = {}
    for key, tensor in tensors.items():
        if not (plain_factor := factor(key)):
            continue
        said = found[plain_factor[0]]
        is_scaled = tensor is said.get("up") and "alpha" in said and not tensor.is_meta
        if is_scaled and "down" in said:
            tensor = tensor.float() * (float(said["alpha"]) / said["down"].shape[0])
        plain[key] = tensor
    return plain


def as_kohya(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The factors of a file in kohya's spelling, which more converters read than any other."""
    named = {}
    for key, tensor in tensors.items():
        if plain_factor := factor(key):
            layer, side = flat(plain_factor[0]), plain_factor[1]
            for prefix in ("base_model_model_", "model_", "diffusion_model_"):
                layer = layer.removeprefix(prefix)
            layer = layer if layer.startswith("lora_") else f"lora_unet_{layer}"
            named[f"{layer}.lora_{side}.weight"] = tensor
    return named


def misfit(found: Mapping[str, Said], unknown: Sequence[str], layers: Layers, kind: str) -> str:
    """Why a LoRA with layers of `unknown` names does not fit the model, whose pipeline is of the
    class `kind`."""
    families = FAMILIES if "unet" in layers.parts else FAMILIES | OF_UNETS
    marks = [f for mark, f in families.items() if any(mark in flat(name) for name in unknown)]
    others = [family for family in marks if family.replace(" ", "").removeprefix("SD") not in kind]
    made = widths(found, layers) or (f"made for {others[0]}: " if others else "")
    if len(unknown) == len(found):
        return (
            f"does not fit: {made}none of its weights belongs to a layer, such as {some(unknown)}"
        )
    return f"does not fit: {made}some of its weights belong to no layer: {some(unknown)}"


def widths(found: Mapping[str, Said], layers: Layers) -> str:
    """Which model a LoRA was made for, where its size says so and it is not this one."""
    theirs = {
        width
        for name, said in found.items()
        if flat(name).endswith("attn2_to_k") and (width := _inputs(said))
    }
    network = next((layers.parts[name] for name in main_names() if name in layers.parts), None)
    own = getattr(getattr(network, "config", None), "cross_attention_dim", None)
    if not theirs or own is None or own in theirs:
        return ""
    width = max(theirs)
    maker = f" ({WIDTHS[width]})" if width in WIDTHS else ""
    this = f" ({WIDTHS[own]})" if own in WIDTHS else ""
    return f"made for a model whose text embeddings have {width} numbers{maker}, not {own}{this}: "


def _inputs(said: Said) -> int | None:
    """How many inputs the layer has of which a file says this, if it surely tells."""
    if "down" in said:
        down, up = said["down"], said["up"]
        fits = down.ndim > 1 and up.ndim > 1 and down.shape[0] == up.shape[1]
        return down.shape[1] if fits else None
    into = said.get("hada_w1_b", said.get("diff"))
    return into.shape[-1] if into is not None and into.ndim == 2 else None
