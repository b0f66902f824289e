"""LoRAs whose layers differ in rank and strength, as several trainers spell them, and what their
weights merged into a model would be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

from tests import tiny

ALPHAS = (1.0, 0.5, 3.0, None)


@dataclass(frozen=True)
class Change:
    down: torch.Tensor
    up: torch.Tensor
    alpha: float | None

    @property
    def merged(self) -> torch.Tensor:
        strength = 1.0 if self.alpha is None else self.alpha / self.down.shape[0]
        product = torch.einsum("or...,ri...->oi...", self.up, self.down)
        return strength * product


Changes = dict[tuple[str, str], Change]
"""By part and layer."""
Spelling = Callable[[Changes], dict[str, torch.Tensor]]


def changes(
    family: str, *parts: str, only: Callable[[str], bool] = lambda _: True, size: float = 0.3
) -> Changes:
    """Of every layer of these parts, or of those that `only` takes."""
    pipeline = tiny.FAMILIES[family]()
    draw = torch.Generator().manual_seed(len(family))
    made: Changes = {}
    for part in parts or list(pipeline._lora_loadable_modules):
        for name, layer in getattr(pipeline, part).named_modules():
            if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) or not only(name):
                continue
            out, into, *kernel = layer.weight.shape
            rank = 1 + len(made) % 3
            made[part, name] = Change(
                torch.randn(rank, into, *kernel, generator=draw) * size,
                torch.randn(out, rank, *(1 for _ in kernel), generator=draw) * size,
                ALPHAS[len(made) % len(ALPHAS)],
            )
    return made


def merge(family: str, made: Changes, folder: Path) -> Path:
    """The model with the changes in its weights."""
    pipeline: DiffusionPipeline = tiny.FAMILIES[family]()
    with torch.no_grad():
        for (part, name), change in made.items():
            getattr(pipeline, part).get_submodule(name).weight += change.merged
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def kohya(made: Changes) -> dict[str, torch.Tensor]:
    encoders = {"text_encoder": "te", "text_encoder_2": "te2"}
    if any(part == "text_encoder_2" for part, _ in made):
        encoders["text_encoder"] = "te1"
    return _spelled(
        made,
        lambda part, name: f"lora_{encoders.get(part, 'unet')}_{name.replace('.', '_')}",
        "lora_down.weight",
        "lora_up.weight",
    )


def peft(made: Changes) -> dict[str, torch.Tensor]:
    return _spelled(made, lambda part, name: f"{part}.{name}", "lora_A.weight", "lora_B.weight")


def peft_default(made: Changes) -> dict[str, torch.Tensor]:
    return _spelled(
        made,
        lambda part, name: f"base_model.model.{part}.{name}",
        "lora_A.default.weight",
        "lora_B.default.weight",
    )


def peft_bare(made: Changes) -> dict[str, torch.Tensor]:
    """As peft saves one network by itself."""
    return _spelled(
        made, lambda _, name: f"base_model.model.{name}", "lora_A.weight", "lora_B.weight"
    )


def onetrainer(made: Changes) -> dict[str, torch.Tensor]:
    return {key.replace("lora_unet_", "lora_transformer_"): v for key, v in kohya(made).items()}


def diffusers(made: Changes) -> dict[str, torch.Tensor]:
    return _spelled(made, lambda part, name: f"{part}.{name}", "lora.down.weight", "lora.up.weight")


def old_diffusers(made: Changes) -> dict[str, torch.Tensor]:
    """Attention alone: nothing else was changed then."""
    said = {}
    text = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    for (part, name), change in made.items():
        layer, _, last = name.removesuffix(".0").rpartition(".")
        key = f"{part}.{layer}.processor.{last}"
        if last in text:
            key = f"{part}.text_model.{layer.removeprefix('text_model.')}.{text[last]}"
        said |= {f"{key}_lora.down.weight": change.down, f"{key}_lora.up.weight": change.up}
        if change.alpha is not None:
            said[f"{key}.alpha"] = torch.tensor(change.alpha)
    return said


def is_attention(name: str) -> bool:
    return "attn" in name


def _spelled(
    made: Mapping[tuple[str, str], Change],
    key_of: Callable[[str, str], str],
    down: str,
    up: str,
) -> dict[str, torch.Tensor]:
    said = {}
    for (part, name), change in made.items():
        key = key_of(part, name)
        said |= {f"{key}.{down}": change.down, f"{key}.{up}": change.up}
        if change.alpha is not None:
            said[f"{key}.alpha"] = torch.tensor(change.alpha)
    return said
