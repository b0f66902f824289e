"""What the keys of LoRA files say: which halves there are of which layer, or that a file is of
another kind or for another model; used by loras.py, opens no files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from darkroom.errors import ModelLoadError
from darkroom.networks import main_names
from worker.loading.layer_names import Layers, flat

KINDS = {
    "dora_scale": "is a DoRA (weights of another length besides their change)",
    "lora_magnitude_vector": "is a DoRA (weights of another length besides their change)",
    "hada_": "is a LoHa, which LyCORIS writes (Hadamard products)",
    "lokr_": "is a LoKr, which LyCORIS writes (Kronecker products)",
    "lora_mid": "is a LoCon with a core between its halves (Tucker decomposition)",
    "oft_": "is an OFT (orthogonal matrices)",
    "on_input": "is an (IA)3 (factors of activations)",
    "glora": "is a GLoRA",
    ".a1.weight": "is a GLoRA",
    "vera_": "is a VeRA",
    ".diff": "holds full differences of weights, besides LoRAs or in their place",
    ".set_weight": "holds whole weights, in place of changes to them",
    "lora_embedding": "changes an embedding of words",
    "lora_B.bias": "changes biases (lora_B.bias)",
    "bundle_emb": "holds a textual inversion besides (bundle_emb)",
}
"""What else is called a LoRA, by a mark in its keys."""

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

_HALF = re.compile(
    r"(?P<layer>.+?)(?:[._]lora(?:_linear_layer)?\.(?P<old>down|up)|\.lora_(?P<kohya>down|up)"
    r"|\.lora_(?P<peft>[AB])(?:\.\w+)?)\.weight"
)
_ALPHA = re.compile(r"(?P<layer>.+?)(?:[._]lora(?:_linear_layer)?|\.lora_(?:down|up))?\.alpha")
_SIDES = {"A": "down", "B": "up"}


@dataclass
class Halves:
    """What a file says of one layer: two factors of the change of its weights, and a number that
    divided by their rank is the strength; None for what the file does not hold."""

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    alpha: torch.Tensor | None = None


def halves(tensors: Mapping[str, torch.Tensor]) -> dict[str, Halves]:
    """What a file says of each layer, by the names that it has for them.

    Raises ModelLoadError for what is no LoRA of this kind."""
    found: dict[str, Halves] = {}
    others = []
    for key, tensor in tensors.items():
        if match := _HALF.fullmatch(key):
            said = match["old"] or match["kohya"] or _SIDES[match["peft"]]
        elif match := _ALPHA.fullmatch(key):
            said = "alpha"
        else:
            others.append(key)
            continue
        layer = found.setdefault(match["layer"], Halves())
        if getattr(layer, said) is not None:
            raise ModelLoadError(f"says twice what {clip(match['layer'])} becomes")
        setattr(layer, said, tensor)
    _refuse_others(others, found)
    if not found:
        raise ModelLoadError("is no LoRA: it holds no weights at all")
    if broken := [name for name, each in found.items() if each.down is None or each.up is None]:
        raise ModelLoadError(f"some of its weights are missing: a half of {some(broken)}")
    return found


def _refuse_others(others: Sequence[str], found: Mapping[str, Halves]) -> None:
    for mark, kind in KINDS.items():
        if any(mark in key for key in others):
            raise ModelLoadError(f"{kind}, which is not supported; LoRA and LoCon are")
    if others and not any(each.down is not None or each.up is not None for each in found.values()):
        raise ModelLoadError(f"is no LoRA: it holds {some(others)}, and nothing called lora")
    if others:
        raise ModelLoadError(f"holds besides a LoRA what belongs to none: {some(others)}")


def without_alphas(
    tensors: Mapping[str, torch.Tensor], found: Mapping[str, Halves]
) -> dict[str, torch.Tensor]:
    """The factors of a file with their strength in them, under the names that it has for them."""
    plain = {}
    for key, tensor in tensors.items():
        if not (match := _HALF.fullmatch(key)):
            continue
        each = found[match["layer"]]
        if tensor is each.up and each.alpha is not None and each.down is not None:
            tensor = tensor.float() * (float(each.alpha) / each.down.shape[0])
        plain[key] = tensor
    return plain


def as_kohya(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The factors of a file in kohya's spelling, which more converters read than any other."""
    named = {}
    for key, tensor in tensors.items():
        if match := _HALF.fullmatch(key):
            side = match["old"] or match["kohya"] or _SIDES[match["peft"]]
            layer = flat(match["layer"])
            for prefix in ("base_model_model_", "model_", "diffusion_model_"):
                layer = layer.removeprefix(prefix)
            layer = layer if layer.startswith("lora_") else f"lora_unet_{layer}"
            named[f"{layer}.lora_{side}.weight"] = tensor
    return named


def misfit(found: Mapping[str, Halves], unknown: Sequence[str], layers: Layers, kind: str) -> str:
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


def widths(found: Mapping[str, Halves], layers: Layers) -> str:
    """Which model a LoRA was made for, where its size says so and it is not this one."""
    theirs = {
        each.down.shape[1]
        for name, each in found.items()
        if each.down is not None and flat(name).endswith("attn2_to_k") and _are_factors(each)
    }
    network = next((layers.parts[name] for name in main_names() if name in layers.parts), None)
    own = getattr(getattr(network, "config", None), "cross_attention_dim", None)
    if not theirs or own is None or own in theirs:
        return ""
    width = max(theirs)
    maker = f" ({WIDTHS[width]})" if width in WIDTHS else ""
    this = f" ({WIDTHS[own]})" if own in WIDTHS else ""
    return f"made for a model whose text embeddings have {width} numbers{maker}, not {own}{this}: "


def _are_factors(found: Halves) -> bool:
    down, up = found.down, found.up
    if down is None or up is None or down.ndim < 2 or up.ndim < 2:
        return False
    return down.shape[0] == up.shape[1]


def some(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(clip(name) for name in names[:3]) + more


def clip(name: str) -> str:
    """A name from a file, as short and as printable as a message needs it."""
    shown = name if name.isprintable() else repr(name)
    return shown if len(shown) <= 100 else shown[:99] + "…"
