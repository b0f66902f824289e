"""Reads ControlNets for UNets from single files; used by controlnets.py, knows no cards."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch

from darkroom.errors import ModelLoadError
from darkroom.file_kinds import CONTROLNET, header_of
from darkroom.model_files import CONFIG, PartFiles, WeightFile
from darkroom.single_files import known_contents
from darkroom.weight_headers import Tensor
from worker.loading import single_parts
from worker.loading.weights import task_classes

_HINT = re.compile(
    r"^(?:control_model\.)?(?:input_hint_block\.|controlnet_cond_embedding\.(?:conv_in|blocks\.)?)"
    r"(\d*)\.weight$"
)
_UNION = ("task_embedding", "control_add_embedding.linear_1.weight")


def read(file: Path, network: Any, pipeline: str) -> torch.nn.Module:
    """The ControlNet in a file, for a model with this network and class of `pipeline`. Its
    configuration is nowhere: such ControlNets are copies of half a UNet, and so it is the network's
    own, but for what the header says of the layers that read the picture and of attention that
    smaller ones leave out.

    Raises ModelLoadError, and what `UNREADABLE` names over memory."""
    contents, header = known_contents(file), header_of(file)
    if contents.kind.name != CONTROLNET:
        raise ModelLoadError(f"{file.name} is no ControlNet, but {contents.kind.words}")
    if not isinstance(network, diffusers.UNet2DConditionModel) or any(
        name in header for name in _UNION
    ):
        raise ModelLoadError(
            f"{file.name} is a ControlNet of a kind that needs its folder, as diffusers writes it: "
            "download the repository's config.json with it"
        )
    if not task_classes(pipeline, controlled=True):
        raise ModelLoadError(f"{pipeline} takes no ControlNets")
    theirs, own = contents.text_width, network.config["cross_attention_dim"]
    if theirs and theirs != own:
        raise ModelLoadError(
            f"does not fit: its cross_attention_dim is {theirs}, the model's {own}"
        )
    config = _config(header, network)
    with TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(config))
        files = PartFiles(Path(folder), WeightFile(file))
        kind = ("diffusers", "ControlNetModel")
        return single_parts.load("controlnet", kind, files, network.dtype)


def _config(header: Mapping[str, Tensor], network: Any) -> dict[str, Any]:
    accepted = inspect.signature(diffusers.ControlNetModel.__init__).parameters
    config = {name: value for name, value in network.config.items() if name in accepted}
    config["in_channels"] = 4
    hint = {
        int(match[1] or -1): tensor.shape
        for name, tensor in header.items()
        if (match := _HINT.match(name)) and len(tensor.shape) == 4
    }
    # Every second layer of them widens, and the last is as wide as the network.
    shapes = [hint[number] for number in sorted(hint)]
    if shapes:
        config["conditioning_channels"] = shapes[0][1]
        widths = shapes if -1 in hint else shapes[:-1]
        config["conditioning_embedding_out_channels"] = [shape[0] for shape in widths[::2]]
    return config | _attention(header, config)


def _attention(header: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Which blocks attend to the text, and how deeply, in a file that is named as by diffusers."""
    if "time_embedding.linear_1.weight" not in header:
        return {}
    levels = len(config["block_out_channels"])
    depths = [_depth(header, rf"down_blocks\.{level}\.attentions\.0") for level in range(levels)]
    middle = _depth(header, r"mid_block\.attentions\.0")
    return {
        "down_block_types": ["CrossAttnDownBlock2D" if each else "DownBlock2D" for each in depths],
        "mid_block_type": "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D",
        "transformer_layers_per_block": [
            each or 1 for each in (*depths[:-1], depths[-1] or middle)
        ],
    }


def _depth(header: Mapping[str, Tensor], start: str) -> int:
    """How many layers of attention are at a place."""
    pattern = re.compile(rf"^{start}\.transformer_blocks\.(\d+)\.")
    return len({match[1] for name in header if (match := pattern.match(name))})
