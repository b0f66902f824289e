"""What LoRAs cost a pass: turning a network to other ones, working with them, and beside them.

    python -m benchmarks.adapters [--rounds 15] [--json]
    python -m benchmarks.adapters --device cuda [--rows 1 4 8]

The network has SDXL's layers, but narrow ones: what is measured is the host's work per layer, on
which a GPU waits. Two LoRAs on all of its attention. Seconds are CPU time of one thread; ratios
are taken within a round, then the median of the rounds. With `--device cuda` it is the UNet of SD
1.5 at its full size, and the time is the wall's until the device is done.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from benchmarks.gpu_steps import SD15
from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
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


def full_size() -> UNet2DConditionModel:
    """As large as SD 1.5's."""
    torch.manual_seed(0)
    return UNet2DConditionModel(in_channels=4, out_channels=4, **SD15).eval()


def loaded(
    folder: Path, make: Callable[[], UNet2DConditionModel] = network
) -> tuple[torch.nn.Module, Adapters]:
    """The plain network, and its adapters as a worker loads them."""
    plain = make()
    for seed, name in enumerate(("ink", "oil")):
        torch.manual_seed(seed)
        taught = copy.deepcopy(plain)
        config = {"r": RANK, "target_modules": ATTENTION, "init_lora_weights": "gaussian"}
        taught.add_adapter(LoraConfig(**config))
        tensors = {k: v for k, v in taught.state_dict().items() if "lora_" in k}
        named = {f"unet.{k.replace('.default', '')}": v for k, v in tensors.items()}
        save_file(named, folder / f"{name}.safetensors")
    pipeline = tiny.sd15()
    pipeline.register_modules(unet=plain)
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


def measured_on(
    device: torch.device, counts: Sequence[int], rounds: int, make: Callable[[], Any] = full_size
) -> dict[str, float]:
    """Medians, in milliseconds: of a pass of so many rows, and of passes of one row each in which
    neighbours have different LoRAs."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    torch.set_default_dtype(dtype)
    with tempfile.TemporaryDirectory() as folder, device:
        plain, added = loaded(Path(folder), make)
        torch.set_default_dtype(torch.float32)
        adapted = added.adapted["unet"].to(device, dtype)
        follow(adapted, added.current)
        side, width = plain.config.sample_size, plain.config.cross_attention_dim
        inputs = {
            rows: (torch.randn(rows, 4, side, side, dtype=dtype), 5, _text(rows, width, dtype))
            for rows in {1, *counts}
        }
    ink, oil = (Setting(((name, 1.0),)) for name in added.loras.values())
    both = Setting(ink.loras + oil.loras)

    def shared(setting: Setting, rows: int) -> None:
        added.current.setting = setting
        adapted(*inputs[rows])

    def different(rows: int) -> None:
        for number in range(rows):
            shared((ink, oil)[number % 2], 1)

    found = {}
    for rows in counts:
        works: dict[str, Callable[[], object]] = {
            "plain": partial(plain, *inputs[rows]),
            "one LoRA": partial(shared, ink, rows),
            "two LoRAs": partial(shared, both, rows),
            "a LoRA for each, in a pass of its own": partial(different, rows),
        }
        for name, work in works.items():
            work()
            times = [_wall_ms(work, device) for _ in range(rounds)]
            found[f"{rows} rows, {name}, ms"] = round(statistics.median(times), 2)
    return found


def _text(rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(rows, 77, width, dtype=dtype)


def _wall_ms(work: Callable[[], object], device: torch.device) -> float:
    """Until the device is done with it."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", type=torch.device, help="a UNet of full size there")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--tiny", action="store_true", help="a small one: tries the script")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print numbers only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    if arguments.device:
        make = network if arguments.tiny else full_size
        result = measured_on(arguments.device, arguments.rows, arguments.rounds, make)
    else:
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
