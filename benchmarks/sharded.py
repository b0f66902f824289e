"""What loading a model from many files takes of time and of memory, against diffusers.

    python -m benchmarks.sharded FOLDER [--device cuda] [--ways Darkroom] [--files float32-whole]

FOLDER gets models of random weights, shaped like Stable Diffusion 3 and smaller (0.45 billion
numbers), in shards of 200 MB and whole, in bfloat16 and in float32 (5.4 GB in all), which are made
if they are not there. Each load has a process of its own. Of its memory, *own* is what cannot be
given back while it is in use; pages of mapped files can. *Device* is what torch took of a GPU's.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Any

import diffusers
import torch
from transformers import T5Config, T5EncoderModel

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from tests import tiny
from worker.device import peak, start_peak
from worker.gathering.gather import Gather
from worker.loading import pipelines

SHARD = "200MB"
FILES = ("bfloat16", "float32")
EVERY_S = 0.002
"""Between two looks at the memory."""


def make(folder: Path) -> None:
    """The models, as folders named by the numbers of their files and whether those are shards, and
    a tiny one."""
    if all((folder / name).exists() for name in _folders()):
        return
    tiny.write("sd35", folder / "tiny")
    torch.manual_seed(0)
    small = tiny.sd35()
    width = {"num_attention_heads": 24, "attention_head_dim": 64, "caption_projection_dim": 1536}
    transformer = diffusers.SD3Transformer2DModel.from_config(
        {**small.transformer.config, **width, "num_layers": 4}
    )
    encoder = T5EncoderModel(
        T5Config(
            **{"d_model": 2048, "d_ff": 5120, "num_layers": 3, "num_heads": 32, "d_kv": 64},
            vocab_size=small.text_encoder_3.config.vocab_size,
        )
    )
    parts = {**small.components, "transformer": transformer, "text_encoder_3": encoder}
    pipeline = diffusers.StableDiffusion3Pipeline(**parts)
    for name in _folders():
        numbers, _, kind = name.partition("-")
        largest = SHARD if kind == "shards" else "50GB"
        pipeline.to(getattr(torch, numbers)).save_pretrained(folder / name, max_shard_size=largest)


def _folders() -> Iterator[str]:
    # Downwards: numbers of bfloat16 are numbers of float32 too.
    for numbers in reversed(FILES):
        yield from (f"{numbers}-{kind}" for kind in ("shards", "whole"))


def by_diffusers(folder: Path, dtype: str, device: torch.device) -> Any:
    pipeline = diffusers.StableDiffusion3Pipeline.from_pretrained(
        folder, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
    )
    return pipeline.to(device)


def by_darkroom(folder: Path, dtype: str, device: torch.device) -> Any:
    card = ModelCard(name="m", source=str(folder), dtype=dtype)
    catalog = Catalog([card], "m", folder)
    return pipelines.load(card, catalog, Gather(), device)


WAYS: dict[str, tuple[Callable[[Path, str, torch.device], Any], dict[str, str]]] = {
    "diffusers": (by_diffusers, {}),
    "diffusers, parallel": (by_diffusers, {"HF_ENABLE_PARALLEL_LOADING": "1"}),
    "Darkroom": (by_darkroom, {}),
    "Darkroom, parallel": (by_darkroom, {"HF_ENABLE_PARALLEL_LOADING": "1"}),
}
"""How it is loaded, and with which environment."""


def measure(way: str, folder: Path, dtype: str, device: torch.device) -> dict[str, object]:
    """Seconds, and memory in multiples of the weights."""
    torch.set_grad_enabled(False)
    # So that nothing more has to be imported, and a GPU is at work already.
    WAYS[way][0](folder.parent / "tiny", dtype, device)
    with _watched(device) as peaks:
        began, cpu = time.perf_counter(), time.process_time()
        loaded = WAYS[way][0](folder, dtype, device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    modules = [each for each in loaded.components.values() if isinstance(each, torch.nn.Module)]
    weights = sum(p.numel() * p.element_size() for module in modules for p in module.parameters())
    return {
        **{"way": way, "files": folder.name, "dtype": dtype, "weights_gb": round(weights / 1e9, 2)},
        **{"load_s": round(seconds, 1), "load_cpu_s": round(cpu_s, 1)},
        **{name: round(peak / weights, 2) for name, peak in peaks.items()},
    }


@contextmanager
def _watched(device: torch.device) -> Iterator[dict[str, int]]:
    """The most memory in use meanwhile, in bytes above what was in use before."""
    before, over, peaks = _memory(), Event(), dict.fromkeys(_memory(), 0)
    on_device = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    start_peak(device)

    def watch() -> None:
        while not over.wait(EVERY_S):
            for name, size in _memory().items():
                peaks[name] = max(peaks[name], size - before[name])

    thread = Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()
    if device.type == "cuda":
        peaks["device"] = peak(device) - on_device


def _memory() -> dict[str, int]:
    """Bytes in memory now: own, and with pages of mapped files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[0][:3] == "Rss"}
    return {"own": sizes["RssAnon"], "all": sizes["RssAnon"] + sizes["RssFile"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--files", nargs="+", choices=list(_folders()), default=list(_folders()))
    parser.add_argument("--dtypes", nargs="+", choices=FILES, default=FILES, help="read as these")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "FILES", "DTYPE"))
    arguments = parser.parse_args()
    folder = arguments.folder
    if arguments.one:
        way, files, dtype = arguments.one
        print(json.dumps(measure(way, folder / files, dtype, arguments.device)))
        return
    child = get_context("spawn").Process(target=make, args=(folder,))
    child.start()
    child.join()
    command = [sys.executable, "-m", "benchmarks.sharded", str(folder)]
    command += ["--device", str(arguments.device), "--one"]
    for files, dtype, way in product(arguments.files, arguments.dtypes, arguments.ways):
        environment = os.environ | WAYS[way][1]
        subprocess.run([*command, way, files, dtype], env=environment, check=True)


if __name__ == "__main__":
    main()
