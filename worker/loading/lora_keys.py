"""What the keys of LoRA files say: what there is of which layer, or that a file is of another kind
or for another model; used by loras.py, opens no files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import torch

from darkroom.errors import ModelLoadError
from darkroom.networks import main_names
from worker.loading.layer_names import Layers, flat

KINDS = {
    "boft_": "is a BOFT (orthogonal matrices)",
    "oft_": "is an OFT (orthogonal matrices)",
    "glora": "is a GLoRA",
    ".a1.weight": "is a GLoRA",
    ".b2.weight": "is a GLoRA",
    "vera_": "is a VeRA",
    ".w_norm": "changes layers that normalise (w_norm)",
    ".b_norm": "changes layers that normalise (b_norm)",
    ".set_weight": "holds whole weights, in place of changes to them",
    "lora_embedding": "changes an embedding of words",
    "lora_B.bias": "changes biases (lora_B.bias)",
    "bundle_emb": "holds a textual inversion besides (bundle_emb)",
}
"""What else is called a LoRA, by a mark in its keys."""
READ = "LoRA, LoCon, LoHa, LoKr, DoRA, (IA)3 and whole differences are"

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

_LORA = re.compile(
    r"(?P<layer>.+?)(?:[._]lora(?:_linear_layer)?\.(?P<old>down|up)|\.lora_(?P<kohya>down|up|mid)"
    r"|\.lora_(?P<peft>[AB])(?:\.\w+)?)\.weight"
)
_ALPHA = re.compile(r"(?P<layer>.+?)(?:[._]lora(?:_linear_layer)?|\.lora_(?:down|up))?\.alpha")
_FACTOR = re.compile(
    r"(?P<layer>.+?)\.(?P<factor>hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2)|diff(?:_b)?)"
    r"(?:\.default)?"
)
_MAGNITUDE = re.compile(
    r"(?P<layer>.+?)\.(?P<name>dora_scale|lora_magnitude_vector)(?:\.\w+)?(?:\.weight)?"
)
_IA3 = re.compile(r"(?P<layer>.+?)\.(?P<name>ia3_l(?:\.\w+)?|on_input)")
_SIDES = {"A": "down", "B": "up"}

Said = Mapping[str, torch.Tensor]
"""What a file says of one layer, by names of our own: `down`, `mid`, `up` of a LoRA, `hada_...`,
`lokr_...`, `diff` of the weight and `diff_b` of the bias, `ia3` with `on_input` if the layer's
inputs are meant, `dora_scale` of LyCORIS or `magnitude` of peft for a DoRA, `alpha`, a number that
divided by the rank is the strength."""

FORMS: tuple[tuple[str, ...], ...] = (
    ("down", "up"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"),
    *(
        (*one, *other)
        for one in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for other in (
            ("lokr_w2",),
            ("lokr_w2_a", "lokr_w2_b"),
            ("lokr_w2_a", "lokr_w2_b", "lokr_t2"),
        )
    ),
    ("down", "mid", "up"),
    ("diff",),
    ("ia3",),
    ("ia3", "on_input"),
    (),
)
"""What can be said of a weight, beside the rest."""
BESIDE = frozenset({"diff_b", "magnitude", "dora_scale", "alpha"})


def read_keys(tensors: Mapping[str, torch.Tensor]) -> dict[str, Said]:
    """What a file says of each layer, by the names that it has for them.

    Raises ModelLoadError for what is no LoRA of a kind that is read."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    others = []
    inputs = {key.removesuffix(".on_input") for key in tensors if key.endswith(".on_input")}
    for key, tensor in tensors.items():
        if (named := _named(key, inputs)) is None:
            others.append(key)
            continue
        layer, what = named
        if what in found.setdefault(layer, {}):
            raise ModelLoadError(f"says twice what {clip(layer)} becomes")
        found[layer][what] = tensor
    _refuse_others(others, found)
    if not found:
        raise ModelLoadError("is no LoRA: it holds no weights at all")
    forms = {frozenset(form) for form in FORMS}
    broken = [name for name, said in found.items() if _is_broken(said, forms)]
    if broken:
        half = "a half" if "down" in found[broken[0]] or "up" in found[broken[0]] else "a part"
        raise ModelLoadError(f"some of its weights are missing: {half} of {some(broken)}")
    return dict(found)


def _named(key: str, inputs: Collection[str]) -> tuple[str, str] | None:
    """The layer and what is said of it; `inputs` are layers that have an `on_input`."""
    if match := _LORA.fullmatch(key):
        return match["layer"], match["old"] or match["kohya"] or _SIDES[match["peft"]]
    if match := _ALPHA.fullmatch(key):
        return match["layer"], "alpha"
    if match := _FACTOR.fullmatch(key):
        return match["layer"], match["factor"]
    if match := _MAGNITUDE.fullmatch(key):
        return match["layer"], "dora_scale" if match["name"] == "dora_scale" else "magnitude"
    if match := _IA3.fullmatch(key):
        return match["layer"], "on_input" if match["name"] == "on_input" else "ia3"
    if key.endswith(".weight") and key.removesuffix(".weight") in inputs:
        return key.removesuffix(".weight"), "ia3"
    return None


def _is_broken(said: Said, forms: Collection[frozenset[str]]) -> bool:
    of_weight = said.keys() - BESIDE
    is_empty = not of_weight and not said.keys() <= {"diff_b", "alpha"}
    return is_empty or said.keys() == {"alpha"} or frozenset(of_weight) not in forms


def _refuse_others(others: Sequence[str], found: Mapping[str, Said]) -> None:
    for mark, kind in KINDS.items():
        if any(mark in key for key in others):
            raise ModelLoadError(f"{kind}, which is not supported; {READ}")
    if others and not any(said.keys() - {"alpha"} for said in found.values()):
        raise ModelLoadError(f"is no LoRA: it holds {some(others)}, and nothing called lora")
    if others:
        raise ModelLoadError(f"holds besides a LoRA what belongs to none: {some(others)}")


def without_alphas(
    tensors: Mapping[str, torch.Tensor], found: Mapping[str, Said]
) -> dict[str, torch.Tensor]:
    """The factors of a LoRA with their strength in them, under the names that the file has for
    them."""
    plain = {}
    for key, tensor in tensors.items():
        if not (match := _LORA.fullmatch(key)):
            continue
        said = found[match["layer"]]
        is_scaled = tensor is said.get("up") and "alpha" in said and not tensor.is_meta
        if is_scaled and "down" in said:
            tensor = tensor.float() * (float(said["alpha"]) / said["down"].shape[0])
        plain[key] = tensor
    return plain


def as_kohya(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The factors of a file in kohya's spelling, which more converters read than any other."""
    named = {}
    for key, tensor in tensors.items():
        if match := _LORA.fullmatch(key):
            side = match["old"] or match["kohya"] or _SIDES[match["peft"]]
            layer = flat(match["layer"])
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


def some(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(clip(name) for name in names[:3]) + more


def clip(name: str) -> str:
    """A name from a file, as short and as printable as a message needs it."""
    shown = name if name.isprintable() else repr(name)
    return shown if len(shown) <= 100 else shown[:99] + "…"
