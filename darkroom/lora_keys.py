"""What the keys of LoRA files say: what there is of which layer, or that a file is of another kind;
used by all processes, opens no files and knows no torch."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from darkroom.errors import ModelLoadError

T = TypeVar("T")
"""A tensor, or what a header tells of one."""

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


def read_keys(tensors: Mapping[str, T]) -> dict[str, Mapping[str, T]]:
    """What a file says of each layer, by the name that it has for it: `down`, `mid`, `up` of a
    LoRA, `hada_...`, `lokr_...`, `diff` of the weight and `diff_b` of the bias, `ia3` with
    `on_input` if the layer's inputs are meant, `dora_scale` of LyCORIS or `magnitude` of peft for a
    DoRA, `alpha`, a number that divided by the rank is the strength.

    Raises ModelLoadError for what is no LoRA of a kind that is read."""
    found: dict[str, dict[str, T]] = {}
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


def factor(key: str) -> tuple[str, str] | None:
    """Of a key of a plain LoRA's factor the layer, and `down`, `mid` or `up`."""
    if match := _LORA.fullmatch(key):
        return match["layer"], match["old"] or match["kohya"] or _SIDES[match["peft"]]
    return None


def _named(key: str, inputs: Collection[str]) -> tuple[str, str] | None:
    """The layer and what is said of it; `inputs` are layers that have an `on_input`."""
    if plain := factor(key):
        return plain
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


def _is_broken(said: Collection[str], forms: Collection[frozenset[str]]) -> bool:
    of_weight = {*said} - BESIDE
    is_empty = not of_weight and not {*said} <= {"diff_b", "alpha"}
    return is_empty or {*said} == {"alpha"} or frozenset(of_weight) not in forms


def _refuse_others(others: Sequence[str], found: Mapping[str, Collection[str]]) -> None:
    for mark, kind in KINDS.items():
        if any(mark in key for key in others):
            raise ModelLoadError(f"{kind}, which is not supported; {READ}")
    if others and not any({*said} - {"alpha"} for said in found.values()):
        raise ModelLoadError(f"is no LoRA: it holds {some(others)}, and nothing called lora")
    if others:
        raise ModelLoadError(f"holds besides a LoRA what belongs to none: {some(others)}")


def some(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(clip(name) for name in names[:3]) + more


def clip(name: str) -> str:
    """A name from a file, as short and as printable as a message needs it."""
    shown = name if name.isprintable() else repr(name)
    return shown if len(shown) <= 100 else shown[:99] + "…"
