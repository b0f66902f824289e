"""A checkpoint of full size in a single file: loading it and one small picture, against diffusers.

    python -m benchmarks.single_file FOLDER [--half] [--device cuda --dtype bfloat16]

Weights are random, sizes and names those of Stable Diffusion 1.5 as it was published, in float32.
FOLDER gets the file and the same as a folder (9 GB), which are made if they are not there. Each way
of loading has a process of its own, one after the other; pictures are compared. `--half`: the file
is in float16, and is only loaded. Of a GPU, `device_gb` is the most that torch took while loading.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from darkroom.catalog import Catalog
from darkroom.model_card import ModelCard
from darkroom.single_files import CONFIGS
from tests import checkpoints, published
from worker.device import peak, start_peak
from worker.gathering.gather import Gather
from worker.loading import clip_vocabulary, pipelines

CALL = {"prompt": "a lighthouse at dusk", "width": 256, "height": 256, "num_inference_steps": 2}


def make(folder: Path) -> None:
    """The model as a folder and as a file."""
    config, model, file = CONFIGS / "sd1", folder / "folder", folder / "file.safetensors"
    if file.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel.from_config(
        diffusers.UNet2DConditionModel.load_config(config / "unet")
    )
    vae = diffusers.AutoencoderKL.from_config(diffusers.AutoencoderKL.load_config(config / "vae"))
    encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(config / "text_encoder"))
    diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=clip_vocabulary.tokenizer(config / "tokenizer"),
        unet=unet,
        scheduler=diffusers.PNDMScheduler.from_pretrained(config / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(model)
    named = {f"model.diffusion_model.{k}": v for k, v in checkpoints.unet(unet).items()}
    named |= {f"first_stage_model.{k}": v for k, v in checkpoints.vae(vae).items()}
    text = checkpoints.clip(encoder, published.Text())
    named |= {f"cond_stage_model.{k}": v for k, v in text.items()}
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, file)


def halve(folder: Path) -> None:
    """The file in half precision, in a folder of its own."""
    file = folder / "half" / "file.safetensors"
    if not file.exists():
        file.parent.mkdir()
        (file.parent / "folder").symlink_to((folder / "folder").resolve())
        whole = load_file(folder / file.name).items()
        save_file({k: v.half() if v.is_floating_point() else v for k, v in whole}, file)


def diffusers_folder(folder: Path, dtype: str, device: torch.device) -> Any:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        folder / "folder",
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        local_files_only=True,
    )
    return pipeline.to(device)


def diffusers_file(folder: Path, dtype: str, device: torch.device) -> Any:
    pipeline = diffusers.StableDiffusionPipeline.from_single_file(
        str(folder / "file.safetensors"),
        config=str(folder / "folder"),
        local_files_only=True,
        torch_dtype=getattr(torch, dtype),
    )
    return pipeline.to(device)


def darkroom_folder(folder: Path, dtype: str, device: torch.device) -> Any:
    return _darkroom(folder / "folder", dtype, device)


def darkroom_file(folder: Path, dtype: str, device: torch.device) -> Any:
    return _darkroom(folder / "file.safetensors", dtype, device)


def _darkroom(source: Path, dtype: str, device: torch.device) -> Any:
    card = ModelCard(name="m", source=source.name, dtype=dtype)
    model = pipelines.load(card, Catalog([card], "m", source.parent), Gather(), device)
    return model.view("text-to-image", "PNDMScheduler")


WAYS: dict[str, Callable[[Path, str, torch.device], Any]] = {
    each.__name__: each
    for each in (diffusers_folder, diffusers_file, darkroom_folder, darkroom_file)
}


def measure(
    way: str, folder: Path, dtype: str, device: torch.device, *, only_load: bool
) -> dict[str, object]:
    torch.set_grad_enabled(False)
    torch.zeros(1, device=device)  # a GPU starts up with this
    start_peak(device)
    began, cpu = time.perf_counter(), time.process_time()
    pipeline = WAYS[way](folder, dtype, device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    measured: dict[str, object] = {
        "way": way,
        "load_s": round(time.perf_counter() - began, 1),
        "load_cpu_s": round(time.process_time() - cpu, 1),
        "loaded_gb": _memory(),
    }
    if device.type == "cuda":
        measured["device_gb"] = round(peak(device) / 2**30, 2)
    if not only_load:
        measured |= _make_picture(pipeline)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return measured | {"peak_gb": round(most, 2)}


def _make_picture(pipeline: Any) -> dict[str, object]:
    pipeline.set_progress_bar_config(disable=True)
    began, cpu = time.perf_counter(), time.process_time()
    pictures = pipeline(**CALL, generator=torch.manual_seed(1), output_type="np").images
    return {
        "picture_s": round(time.perf_counter() - began, 1),
        "picture_cpu_s": round(time.process_time() - cpu, 1),
        "picture": hashlib.sha256(pictures.tobytes()).hexdigest()[:12],
    }


def _memory() -> dict[str, float]:
    """GiB in memory now: of files that are mapped, and of what is the process's own."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {line[0].rstrip(":"): int(line[1]) for line in lines if line[0].startswith("Rss")}
    return {"mapped": round(sizes["RssFile"] / 2**20, 2), "own": round(sizes["RssAnon"] / 2**20, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--dtype", default="float32", help="what it is read as")
    parser.add_argument("--way", choices=WAYS, help="this one alone, of files that are there")
    arguments = parser.parse_args()
    folder = arguments.folder / "half" if arguments.half else arguments.folder
    if arguments.way:
        how = arguments.way, folder, arguments.dtype, arguments.device
        print(json.dumps(measure(*how, only_load=arguments.half)))
        return
    # A child's peak of memory is never below that of the process that starts it.
    for prepare in (make, halve) if arguments.half else (make,):
        child = get_context("spawn").Process(target=prepare, args=(arguments.folder,))
        child.start()
        child.join()
    for way in WAYS:
        if not (arguments.half and way.endswith("_folder")):
            command = [sys.executable, "-m", "benchmarks.single_file", *sys.argv[1:]]
            subprocess.run([*command, "--way", way], check=True)


if __name__ == "__main__":
    main()
