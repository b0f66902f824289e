"""What LoRA files cost when a model is loaded: good ones, and such as do not fit.

    python -m benchmarks.lora_files [--good 7] [--bad 11] [--json]

The network has as many layers as SDXL's, but narrow ones; good files change its attention. Bad
ones are of another model, lack a half, name layers that are not there. Seconds are CPU time of one
thread.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.adapters import ATTENTION, network
from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from tests import tiny
from worker.loading import adapter_files

Tensors = dict[str, torch.Tensor]


def good(seed: int) -> Tensors:
    draw = torch.Generator().manual_seed(seed)
    made = {}
    for name, layer in network().named_modules():
        if name.endswith(tuple(ATTENTION)):
            out, into = layer.weight.shape
            key = f"lora_unet_{name.replace('.', '_')}"
            made[f"{key}.lora_down.weight"] = torch.randn(16, into, generator=draw)
            made[f"{key}.lora_up.weight"] = torch.randn(out, 16, generator=draw)
            made[f"{key}.alpha"] = torch.tensor(8.0)
    return made


def of_another_model(made: Tensors) -> Tensors:
    return {k: v.repeat(*[1] * (v.ndim - 1), 2) if "lora_down" in k else v for k, v in made.items()}


def without_a_half(made: Tensors) -> Tensors:
    return dict(list(made.items())[1:])


def for_other_layers(made: Tensors) -> Tensors:
    return {key.replace("down_blocks", "lower_blocks"): value for key, value in made.items()}


WAYS = (of_another_model, without_a_half, for_other_layers)


def measured(good_ones: int, bad_ones: int) -> dict[str, float]:
    """Seconds for loads with no, with good and with all files."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"good{i}" for i in range(good_ones)] + [f"bad{i}" for i in range(bad_ones)]
        for seed, name in enumerate(names):
            tensors = good(seed)
            if name.startswith("bad"):
                tensors = WAYS[seed % len(WAYS)](tensors)
            save_file(tensors, Path(folder) / f"{name}.safetensors")
        load(Path(folder), names[:1])  # imports
        return {
            "none_s": load(Path(folder), ()),
            "good_s": load(Path(folder), names[:good_ones]),
            "all_s": load(Path(folder), names),
        }


def load(folder: Path, names: tuple[str, ...] | list[str]) -> float:
    pipeline = tiny.sd15()
    pipeline.register_modules(unet=network())
    cards = [{"name": name, "source": f"{name}.safetensors"} for name in names]
    card = ModelCard(name="deep", source="deep", loras=cards)
    began = time.process_time()
    added = adapter_files.load(card, Catalog([card], "deep", folder), pipeline)
    taken = time.process_time() - began
    assert [*added.loras] == [name for name in names if name.startswith("good")]
    return round(taken, 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--good", type=int, default=7)
    parser.add_argument("--bad", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = measured(told.good, told.bad)
    print(json.dumps(found) if told.json else "\n".join(f"{k}: {v}" for k, v in found.items()))


if __name__ == "__main__":
    main()
