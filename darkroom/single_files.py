"""Puts together what a model consists of where weights lie in single files; used by all processes,
knows neither torch nor diffusers.

A checkpoint holds the weights of all parts and nothing else. What their sizes are, which noise
scheduler is meant and how text becomes tokens is in a folder like one that diffusers writes,
without weights: `darkroom/configs` has one for each family of `SHIPPED`, a card can name another.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

from darkroom.errors import ModelLoadError
from darkroom.file_families import Contents, Prediction, contents_of
from darkroom.file_kinds import CHECKPOINT, TRANSFORMER, UNET, VAE, header_of
from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles, PartFiles, WeightFile
from darkroom.networks import main_names
from darkroom.safe_files import size_of
from darkroom.weight_headers import Tensor

CONFIGS = Path(str(resources.files("darkroom"))) / "configs"
SHIPPED = tuple(sorted(each.parent.name for each in CONFIGS.glob("*/model_index.json")))
"""Families whose checkpoints need no folder besides."""

CLASSES = {
    "sd1": "UNet2DConditionModel",
    "sd2": "UNet2DConditionModel",
    "sdxl": "UNet2DConditionModel",
    "flux": "FluxTransformer2DModel",
    "flux2": "Flux2Transformer2DModel",
    "chroma": "ChromaTransformer2DModel",
    "sd3": "SD3Transformer2DModel",
    "sd35": "SD3Transformer2DModel",
    "qwen": "QwenImageTransformer2DModel",
    "z": "ZImageTransformer2DModel",
    "lumina2": "Lumina2Transformer2DModel",
    "auraflow": "AuraFlowTransformer2DModel",
    "sana": "SanaTransformer2DModel",
    "hidream": "HiDreamImageTransformer2DModel",
    "krea2": "Krea2Transformer2DModel",
}
"""diffusers' class of a family's network, by how the family's name begins. Only these are read from
single files."""

_UNREAD = "text_encoders."
"""How the text encoders of Stable Diffusion 3 and Flux begin in checkpoints; they are taken from
the folder."""
_BIAS = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
_V_DEVIATION = 0.09
"""Of the numbers of `_BIAS` in Stable Diffusion 2: above it, the network was trained to predict v.
Found and used by ComfyUI (comfy/supported_models.py, SD20.model_type); few files say it."""


def files_of(
    card: ModelCard,
    locate: Callable[[str], Path | None],
    folder: Callable[[str, str | None], Path],
) -> ModelFiles:
    """What the model of `card` consists of. `locate` finds the file or folder that a source names,
    `folder` the folder of a source and revision, or raises ModelLoadError.

    Raises ModelLoadError."""
    place = locate(card.source)
    if place is not None and not place.is_dir():
        config = folder(card.config, None) if card.config else None
        files = checkpoint(place, config, card.prediction_type)
    else:
        files = ModelFiles(folder(card.source, card.revision))
        files = files.predicting(card.prediction_type) if card.prediction_type else files
    if card.transformer is not None:
        files = _with_network(files, _file(card.transformer, locate, "transformer"))
    return files


def vae_of(
    source: str,
    own: PartFiles,
    locate: Callable[[str], Path | None],
    folder: Callable[[str], Path],
) -> PartFiles:
    """The VAE that `source` names, which takes the place of the model's `own`: a folder, or a file
    with weights for the own one's configuration. Raises ModelLoadError."""
    place = locate(source)
    if place is None or place.is_dir():
        return PartFiles(folder(source))
    contents = known_contents(place)
    if contents.kind.name != VAE:
        raise ModelLoadError(f"vae: {place.name} is {contents.kind.words}, and no VAE")
    _refuse_quantized(place, contents)
    return PartFiles(own.folder, WeightFile(place))


def checkpoint(file: Path, config: Path | None, prediction: Prediction | None) -> ModelFiles:
    """The model in a checkpoint, shaped like the folder `config` says, or that of its family.

    Raises ModelLoadError."""
    contents = known_contents(file)
    if contents.kind.name != CHECKPOINT:
        raise ModelLoadError(_no_checkpoint(file, contents))
    _refuse_quantized(file, contents)
    predicts = prediction or contents.prediction
    if config is None:
        config = _shipped(file, contents, predicts)
    places = {
        part: WeightFile(file, start)
        for part, start in contents.parts.items()
        if not start.startswith(_UNREAD)
    }
    files = ModelFiles(config, places)
    if lacking := [name for name in files.weighty if not files.part(name).weights()]:
        raise ModelLoadError(
            f"{file.name} holds no {' and no '.join(lacking)}; name a folder that has "
            f"{'it' if len(lacking) == 1 else 'them'} as `config`"
        )
    return files.predicting(predicts, zero_snr=contents.has_zero_snr) if predicts else files


def known_contents(file: Path) -> Contents:
    """What the header of a safetensors file says and, of a Stable Diffusion 2, what its numbers say
    that it predicts. Read again only when the file has changed.

    Raises ModelLoadError."""
    size_of(file)
    found = file.stat()
    return _contents(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _contents(file: Path, _size: int, _changed: int) -> Contents:
    header = header_of(file)
    contents = contents_of(header)
    if contents.prediction is None and contents.family == "sd2" and "unet" in contents.parts:
        bias = header.get(contents.parts["unet"] + _BIAS)
        contents = replace(contents, prediction=_measured(_numbers(file, bias) if bias else ()))
    return contents


def _with_network(files: ModelFiles, file: Path) -> ModelFiles:
    """The model with the network of another file in place of its own."""
    contents = known_contents(file)
    if contents.kind.name not in (CHECKPOINT, TRANSFORMER, UNET):
        raise ModelLoadError(f"transformer: {file.name} is {contents.kind.words}, and no network")
    _refuse_quantized(file, contents)
    name = next((name for name in main_names() if name in files.parts), None)
    if name is None:
        raise ModelLoadError("transformer: the model has no network that could be replaced")
    expected = files.parts[name][1]
    cls = CLASSES.get((contents.family or "").partition("-")[0])
    if contents.family and cls != expected:
        raise ModelLoadError(
            f"transformer: {file.name} is for {contents.family}, and does not fit the folder, "
            f"whose network is {expected}"
        )
    wide = files.part(name).config.get("cross_attention_dim")
    if contents.text_width and contents.text_width != wide:
        raise ModelLoadError(
            f"transformer: {file.name} reads text that is {contents.text_width} wide, the folder's "
            f"network one of {wide}: they are of different families"
        )
    return files.replacing(name, WeightFile(file, contents.parts.get(name, "")))


def _file(source: str, locate: Callable[[str], Path | None], field: str) -> Path:
    place = locate(source)
    if place is None:
        raise ModelLoadError(f"{field}: {source} is missing: there is no such file")
    return place


def _shipped(file: Path, contents: Contents, predicts: Prediction | None) -> Path:
    """The folder of darkroom/configs for a checkpoint's family. Raises ModelLoadError."""
    family = contents.family
    if family == "sd2" and predicts == "v_prediction":
        family = "sd2-v"
    if family in SHIPPED:
        return CONFIGS / family
    if family is None:
        raise ModelLoadError(
            f"{file.name} is a checkpoint of a family that its header does not tell; name a folder "
            "of the same family, as diffusers writes them, as `config`"
        )
    raise ModelLoadError(
        f"{file.name} is a checkpoint of {family}, of which only the network is read: name a "
        "folder of that family as `source` and this file as `transformer`"
    )


def _no_checkpoint(file: Path, contents: Contents) -> str:
    kind = contents.kind
    if kind.name in (TRANSFORMER, UNET):
        family = f" of {contents.family}" if contents.family else ""
        return (
            f"{file.name} is {kind.words}{family} and no whole model: name a folder of its family "
            "as `source` and this file as `transformer`"
        )
    return f"{file.name} is {kind.words}, where a whole model is needed"


def _refuse_quantized(file: Path, contents: Contents) -> None:
    if contents.is_quantized:
        raise ModelLoadError(
            f"{file.name} holds numbers of eight bits or fewer ({contents.dtype}), which are not "
            "read; get the same in float16 or bfloat16"
        )


def _measured(numbers: Sequence[float]) -> Prediction | None:
    """What a network predicts whose `_BIAS` has these numbers; None: there are none."""
    if not numbers:
        return None
    mean = math.fsum(numbers) / len(numbers)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in numbers) / len(numbers))
    return "v_prediction" if deviation > _V_DEVIATION else "epsilon"


def _numbers(file: Path, tensor: Tensor) -> tuple[float, ...]:
    """The numbers of a small tensor; none of a format that is not known."""
    if tensor.size > 2**16:
        return ()
    with file.open("rb") as opened:
        opened.seek(tensor.at)
        content = opened.read(tensor.size)
    if tensor.dtype == "BF16":  # the upper half of a float32
        halves = struct.unpack(f"<{tensor.size // 2}H", content)
        content = struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves))
    elif tensor.dtype not in ("F32", "F16"):
        return ()
    letter = "e" if tensor.dtype == "F16" else "f"
    return struct.unpack(f"<{len(content) // struct.calcsize(letter)}{letter}", content)
