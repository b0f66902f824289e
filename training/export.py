"""Write the trained parts as an ordinary diffusers folder: models/emoji."""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import DiffusionPipeline, ModelMixin, StableDiffusionPipeline
from safetensors.torch import load_file

from training.data import write_vocabulary
from training.diffusion import Denoiser, load_autoencoder, make_pipeline
from training.run import RUNS, read_config, select

TARGET = Path("models/emoji")
CARD = "README.md"

Saveable: TypeAlias = DiffusionPipeline | ModelMixin


def assemble(config: dict) -> StableDiffusionPipeline:
    """The averaged networks of the newest state, around the autoencoder they learnt on."""
    vae = load_autoencoder(torch.device("cpu"))
    torch.manual_seed(config["seed"])
    denoiser = Denoiser(config, vae.config.latent_channels)
    state = RUNS / "diffusion" / "state.safetensors"
    if state.exists():
        denoiser.load_state_dict(select(load_file(state), "average"))
    else:
        print(f"{state} is missing: the weights are random")
    return make_pipeline(denoiser, vae, config)


def swap_in(model: Saveable, target: Path) -> int:
    """Save in half precision and swap folders, so that nobody sees half a model; bytes written.

    The model card that lay there stays.
    """
    newer, older = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in (newer, older):
        shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.float16).save_pretrained(newer, safe_serialization=True)
    for config in newer.rglob("config.json"):
        tidy(config)
    if target.exists():
        if (target / CARD).exists():
            shutil.copy(target / CARD, newer / CARD)
        os.rename(target, older)
    os.rename(newer, target)
    shutil.rmtree(older, ignore_errors=True)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def tidy(config: Path) -> None:
    """Leave out the folder that it was made from, and let transformers load as diffusers does: in
    float32, not in the type of the weights."""
    facts = json.loads(config.read_text())
    facts.pop("_name_or_path", None)
    if "dtype" in facts:
        facts["dtype"] = "float32"
    config.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    size = swap_in(assemble(read_config("diffusion")), arguments.target)
    write_vocabulary(arguments.target / "vocabulary.txt")
    print(f"{arguments.target}: {size / 1e6:.1f} MB")
