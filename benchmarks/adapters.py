"""What LoRAs cost a pass: turning a network to other ones, working with them, and beside them.

    python -m benchmarks.adapters [--rounds 15] [--json]

The network has SDXL's layers, but narrow ones: what is measured is the host's work per layer, on
which a GPU waits. Two LoRAs on all of its attention. Seconds are CPU time of one thread; ratios
are taken within a round, then the median of the rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from darkroom.catalog import Catalog, ModelCard
from tests import tiny
from worker.loading import adapter_files
from worker.loading.adapted_layers import adapted_layers
from worker.loading.adapters import Adapters, Setting, follow, turn
from worker.loading.memory import held_bytes

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
RANK = 16


def network() -> UNet2DConditionModel:
    """As deep as SDXL's."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 128),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[2, 4, 8],
        cross_attention_dim=16,
        norm_num_groups=8,
    ).eval()


def loaded(folder: Path) -> tuple[torch.nn.Module, Adapters]:
    """The plain network, and its adapters as a worker loads them."""
    for seed, name in enumerate(("ink", "oil")):
        torch.manual_seed(seed)
        taught = network()
        config = {"r": RANK, "target_modules": ATTENTION, "init_lora_weights": "gaussian"}
        taught.add_adapter(LoraConfig(**config))
        tensors = {k: v for k, v in taught.state_dict().items() if "lora_" in k}
        named = {f"unet.{k.replace('.default', '')}": v for k, v in tensors.items()}
        save_file(named, folder / f"{name}.safetensors")
    pipeline = tiny.sd15()
    pipeline.register_modules(unet=network())
    cards = [{"name": name, "source": f"{name}.safetensors"} for name in ("ink", "oil")]
    card = ModelCard(name="deep", source="deep", loras=cards)
    return pipeline.unet, adapter_files.load(card, Catalog([card], "deep", folder), pipeline)


def milliseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def measured(rounds: int) -> dict[str, float]:
    """Medians, in milliseconds or as ratios."""
    with tempfile.TemporaryDirectory() as folder:
        plain, added = loaded(Path(folder))
    adapted = added.adapted["unet"]
    follow(adapted, added.current)
    inputs = torch.randn(1, 4, 8, 8), 5, torch.randn(1, 7, 16)
    layers = adapted_layers(adapted)
    ink, oil = (Setting(((name, 1.0),)) for name in added.loras.values())
    both = Setting(ink.loras + oil.loras)
    settings = (ink, oil) * 10
    runs = []
    for number in range(rounds + 1):
        times = {"plain": milliseconds(lambda: plain(*inputs))}
        for name, setting in (("one", ink), ("both", both)):
            added.current.setting = setting
            adapted(*inputs)
            times[name] = milliseconds(lambda: adapted(*inputs))
        turning = milliseconds(lambda: [turn(layers, (), each) for each in settings])
        times["turning"] = turning / len(settings)
        if number:  # the first round warms up
            runs.append(times)
    whole = held_bytes([plain])
    extra = held_bytes([plain, adapted]) - whole

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return round(statistics.median(map(of, runs)), 2)

    return {
        "layers with LoRAs": len(layers),
        "a pass of plain jobs, ms": median(lambda t: t["plain"]),
        "a pass with one LoRA, times that": median(lambda t: t["one"] / t["plain"]),
        "a pass with two LoRAs, times that": median(lambda t: t["both"] / t["plain"]),
        "turning to another LoRA, ms": median(lambda t: t["turning"]),
        "weights of both LoRAs, share of the network's": round(extra / whole, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print numbers only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    result = measured(arguments.rounds)
    if arguments.json:
        print(json.dumps(result))
        return
    table = Table("", "median", title="What LoRAs cost a pass")
    for name, value in result.items():
        table.add_row(name, str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
