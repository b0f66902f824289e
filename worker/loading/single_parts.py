"""Reads one part of a model from a single file; used by all that loads weights in the worker, knows
no cards.

diffusers converts the names of its own networks. CLIP's text encoders are read here: transformers
knows nothing of the names that they have in checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import diffusers
import torch
import transformers
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import safe_open

from darkroom.errors import ModelLoadError
from darkroom.file_families import NETWORK_PREFIXES
from darkroom.model_files import PartFiles, WeightFile
from darkroom.weight_headers import read_header
from worker.device import is_out_of_memory
from worker.loading.complaints import UNREADABLE, reason_of

_OPEN_CLIP = (
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_(1|2)\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
"""Names of open_clip's text encoder and what transformers calls the same."""
_CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")


def load(
    name: str, kind: tuple[str | None, str | None], files: PartFiles, dtype: torch.dtype
) -> torch.nn.Module:
    """The part called `name`, of the class that `kind` gives by library and name, with the
    configuration of the folder and the weights of the single file of `files`.

    Raises ModelLoadError, and what `UNREADABLE` names over memory."""
    library, cls = kind
    assert files.single is not None, "weights in a folder are read by the libraries themselves"
    file = files.single.path.name
    try:
        tensors = _tensors(files.single)
        if library == "transformers":
            module = _text_encoder(name, str(cls), files, tensors, dtype)
        else:
            module = _network(str(cls), files, tensors, dtype)
    except SingleFileComponentError:
        raise ModelLoadError(f"{name}: {file} holds no {cls}") from None
    except (NotImplementedError, KeyError, TypeError):  # what diffusers meets where one is missing
        raise ModelLoadError(f"{name}: some weights are missing in {file}") from None
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        if "shape" in str(error):
            raise ModelLoadError(
                f"{name}: weights of another shape than the configuration says: {reason_of(error)}"
            ) from None
        raise ModelLoadError(
            f"{name}: {file} is no {cls} that is known: {reason_of(error)}"
        ) from None
    return module


def _tensors(single: WeightFile) -> dict[str, torch.Tensor]:
    """The tensors of the part, by their names within it. They stay in the file until they are
    read."""
    names = [name for name in read_header(single.path) if name.startswith(single.start)]
    starts = [single.start] if single.start else NETWORK_PREFIXES
    start = next((each for each in starts if all(name.startswith(each) for name in names)), "")
    with safe_open(single.path, framework="pt") as opened:
        return {name.removeprefix(start): opened.get_tensor(name) for name in names}


def _network(
    cls: str, files: PartFiles, tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> torch.nn.Module:
    if cls == "UNet2DConditionModel" and "input_blocks.0.0.weight" in tensors:
        tensors = {f"model.diffusion_model.{each}": tensor for each, tensor in tensors.items()}
    module: torch.nn.Module = getattr(diffusers, cls).from_single_file(
        tensors, config=str(files.folder), local_files_only=True, torch_dtype=dtype
    )
    return module


def _text_encoder(
    name: str, cls: str, files: PartFiles, tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> torch.nn.Module:
    if cls not in _CLIP:
        raise ModelLoadError(f"{name}: a {cls} is not read from a single file")
    kind = getattr(transformers, cls)
    config = kind.config_class.from_pretrained(files.folder, local_files_only=True)
    named = {key.removeprefix("model."): tensor for key, tensor in tensors.items()}
    if "positional_embedding" in named:
        named = _of_open_clip(named, config.num_hidden_layers)
    starts = re.compile(r"^(transformer\.)?(text_model\.)?(?!text_projection)")
    named = {starts.sub("text_model.", key): tensor for key, tensor in named.items()}
    module: torch.nn.Module = kind.from_pretrained(
        None, config=config, state_dict=named, dtype=dtype
    )
    return module


def _of_open_clip(tensors: Mapping[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """The same as transformers names and keeps it: queries, keys and values apart, the projection
    transposed. Layers that the model does not use are left out: Stable Diffusion 2 reads the last
    but one."""
    named = {}
    for name, tensor in tensors.items():
        if name == "logit_scale":
            continue
        if name == "text_projection":
            named["text_projection.weight"] = tensor.T.contiguous()
            continue
        for pattern, replacement in _OPEN_CLIP:
            name = re.sub(pattern, replacement, name)
        number = re.match(r"encoder\.layers\.(\d+)\.", name)
        if number and int(number[1]) >= layers:
            continue
        start, is_joined, end = name.partition("in_proj_")
        if is_joined:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                named[f"{start}{part}_proj.{end}"] = piece
        else:
            named[name] = tensor
    return named
