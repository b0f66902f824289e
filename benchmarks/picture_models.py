"""The models that `same_pictures` asks: the demo models, and a tiny random one of each family."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests import tiny, tiny_adapters
from tests.running import ROOT

DEMO = ROOT / "models"

CARD = """
[[models]]
name = "{name}"
source = "{source}"
limits = {{ min_size = 8, max_size = 256, size_multiple = 4 }}
{more}
"""
LORAS_OF = """
loras = [{{ name = "ink", source = "{family}-ink" }}, {{ name = "soft", source = "{family}-soft" }}]
"""
NETS = """
controlnets = [
    {{ name = "net", source = "{family}-net" }},
    {{ name = "net2", source = "{family}-net2" }},
]
"""
WORDS = """
embeddings = [{{ token = "<word>", source = "{family}-word" }}]
[models.ip_adapter]
source = "{family}-reference"
weight_name = "ip-adapter.safetensors"
image_encoder = "image_encoder"
"""
MORE: Mapping[str, str] = {
    "sd15": LORAS_OF + NETS + WORDS,
    "sdxl": LORAS_OF + NETS + WORDS,
    "sd3": LORAS_OF + NETS,
    "flux": LORAS_OF,
    "lcm": 'scheduler = "LCMScheduler"',
}
"""What stands in a family's card besides its folder."""
OTHERWISE: Mapping[str, tuple[str, str]] = {
    "sd15-half": ("sd15", 'dtype = "bfloat16"\nscheduler = "DDIMScheduler"'),
    "sd15-offloaded": ("sd15", 'offload = "model"\nvae_slicing = true'),
    "sd15-tiled": ("sd15", "vae_tiling = true\nmax_jobs = 2"),
    "sd35-short": ("sd35", "text_encoders = false"),
}
"""Further cards: the folder and how else it is loaded."""


def write_models(folder: Path) -> None:
    """The tiny models with their adapters, and a models.toml for them and the demo models."""
    families = (*tiny.FAMILIES, *tiny.SPECIAL)
    for family in families:
        tiny.write(family, folder / family)
    write_adapters(folder)
    cards = [card(name, name, MORE.get(name, "").format(family=name)) for name in families]
    cards += [card(name, source, more) for name, (source, more) in OTHERWISE.items()]
    canny = f'controlnets = [{{ name = "canny", source = "{DEMO}/emoji-canny" }}]'
    cards.append(card("emoji", f"{DEMO}/emoji", canny))
    cards.append(card("emoji-upscale", f"{DEMO}/emoji-upscale", ""))
    (folder / "models.toml").write_text("".join(cards))


def card(name: str, source: str, more: str) -> str:
    return CARD.format(name=name, source=source, more=more)


def write_adapters(folder: Path) -> None:
    for family in ("sd15", "sdxl", "sd3", "flux"):
        for seed, name in enumerate(("ink", "soft")):
            where = folder / f"{family}-{name}"
            tiny_adapters.write_lora(family, where, seed, text=family in ("sd15", "sdxl"))
            put_in_order(where / tiny_adapters.LORA)
    for family in ("sd15", "sdxl"):
        config = tiny.SDXL if family == "sdxl" else {}
        for seed, name in enumerate(("net", "net2")):
            tiny_adapters.write_controlnet(folder / f"{family}-{name}", seed, **config)
        tiny_adapters.write_embedding(family, folder / f"{family}-word", 0)
        tiny_adapters.write_ip_adapter(family, folder / f"{family}-reference", 0)
    for seed, name in enumerate(("net", "net2")):
        torch.manual_seed(seed)
        tiny.sd3_controlnet().save_pretrained(folder / f"sd3-{name}")


def put_in_order(lora: Path) -> None:
    """Write what a LoRA's file tells in one order: sets of layers come in another from each
    process, and so do entries of a header that has more than one."""
    with safe_open(lora, "pt") as file:
        told = json.loads(file.metadata()["lora_adapter_metadata"])
    ordered = {k: sorted(v) if isinstance(v, list) else v for k, v in told.items()}
    metadata = {"lora_adapter_metadata": json.dumps(ordered, sort_keys=True)}
    save_file(load_file(lora), lora, metadata)
