"""What a file is by its first bytes and, of safetensors, by the names of its tensors; used by all
that loads models and adapters, knows neither torch nor diffusers."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from darkroom.errors import ModelLoadError
from darkroom.safe_files import read_start, size_of
from darkroom.weight_headers import Header, read_header

LORA, EMBEDDING, IP_ADAPTER, CONTROLNET = "lora", "embedding", "ip_adapter", "controlnet"
CHECKPOINT, TRANSFORMER, UNET, VAE = "checkpoint", "transformer", "unet", "vae"
WEIGHTS = "weights"
"""Of a kind that nothing here knows."""


@dataclass(frozen=True)
class Kind:
    """What a file is."""

    name: str
    words: str
    """With its article, and after a colon what to do about it."""


_START = 512
"""Bytes that tell what a file is."""

_DOWNLOAD = "the download was answered with it; download the file again, signed in if need be"
_CODE = "which could run code when it is read; look for a .safetensors file of the same"

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (
        b"version https://git-lfs",
        Kind("lfs", "a Git LFS pointer: fetch the file with `git lfs pull`"),
    ),
    (b"<!doctype", Kind("html", f"a web page: {_DOWNLOAD}")),
    (b"<html", Kind("html", f"a web page: {_DOWNLOAD}")),
    (b"<head", Kind("html", f"a web page: {_DOWNLOAD}")),
    (b"<?xml", Kind("xml", f"an XML document: {_DOWNLOAD}")),
    (b"<", Kind("html", f"a web page or XML document: {_DOWNLOAD}")),
    (b"{", Kind("json", f"JSON, such as an error or a configuration: {_DOWNLOAD}")),
    (b"[", Kind("json", f"JSON, such as an error or a configuration: {_DOWNLOAD}")),
)
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"GGUF", Kind("gguf", "a GGUF file, whose weights are quantized: those are not read")),
    (b"PK\x03\x04", Kind("pickle", f"a zip archive, as torch.save writes pickles, {_CODE}")),
    (b"PK\x05\x06", Kind("zip", "an empty zip archive")),
    (b"7z\xbc\xaf", Kind("archive", "a 7z archive: unpack it")),
    (b"Rar!", Kind("archive", "a RAR archive: unpack it")),
    (b"\x1f\x8b", Kind("archive", "a gzip archive: unpack it")),
    (b"\x28\xb5\x2f\xfd", Kind("archive", "a zstd archive: unpack it")),
    (b"\x89PNG", Kind("picture", "a picture")),
    (b"\xff\xd8\xff", Kind("picture", "a picture")),
    (b"RIFF", Kind("picture", "a picture or a sound")),
    (b"\x89HDF", Kind("hdf5", "an HDF5 file, as TensorFlow writes weights: those are not read")),
    (b"%PDF", Kind("pdf", "a PDF document")),
)

_TENSORS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (IP_ADAPTER, (r"^(ip_adapter|image_proj)\.",), "an IP-Adapter"),
    (
        LORA,
        (r"lora_|[._]lora\.|\.(hada|lokr|oft|glora)_|\.on_input$|\.diff(_b)?$|\.[ab]1\.weight$",),
        "a LoRA",
    ),
    (
        EMBEDDING,
        (r"string_to_param|^(emb_params|clip_[lg]|text_encoders_[01]|<.+>)$",),
        "an embedding (a textual inversion)",
    ),
    (
        CONTROLNET,
        (r"^control_model\.|^controlnet_|^input_hint_block|^control_(all_x_embedder|layers)\.",),
        "a ControlNet",
    ),
    ("t2i_adapter", (r"^(adapter\.)?body\.\d+\.(block\d|in_conv|resnets)",), "a T2I-Adapter"),
    ("upscaler", (r"^(model\.\d+\.sub\.|body\.\d+\.rdb|RRDB_trunk)",), "an upscaler (ESRGAN)"),
    (
        CHECKPOINT,
        (
            r"^model\.diffusion_model\.",
            r"^(first_stage_model|vae|cond_stage_model|conditioner|text_encoders)\.",
        ),
        "a whole checkpoint in a single file",
    ),
    (TRANSFORMER, (r"(^|\.)(double|joint)_blocks\.",), "a transformer in a single file"),
    (
        VAE,
        (r"^first_stage_model\.|^(vae\.)?decoder\.(conv_in|conv_out|up|middle\.0\.residual)",),
        "a VAE",
    ),
    (UNET, (r"^((model\.)?diffusion_model\.)?(down_blocks|input_blocks)\.",), "a UNet"),
    (TRANSFORMER, (r"transformer_blocks\.",), "a transformer in a single file"),
    (
        TRANSFORMER,
        (
            r"^((model\.)?diffusion_model\.|net\.)?(layers\.\d+\.(attention|adaLN|norm1\.linear)"
            r"|double_layers|double_stream_blocks|blocks\.\d+\.(\w*attn\d?|mlp)\.)",
        ),
        "a transformer in a single file",
    ),
    ("image_encoder", (r"^vision_model\.",), "an image encoder"),
    (
        "text_encoder",
        (
            r"^(cond_stage_model|conditioner|text_encoders)\.|^text_model\."
            r"|^encoder\.(layers|block)\.|^(model\.)?layers\.\d+\.self_attn\.",
        ),
        "a text encoder",
    ),
)
"""Kinds of weights by what names of their tensors look like, the most telling ones first; all
patterns of a row must be found."""


def what_is(path: Path) -> Kind:
    """What the file is. Raises ModelLoadError if it is missing, no ordinary file, or a damaged
    safetensors file."""
    if size_of(path) == 0:
        return Kind("empty", "an empty file: download it again")
    start = read_start(path, _START)
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if _is_header(start):
        return kind_of_tensors(read_header(path))
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for begin, kind in _STARTS:
        if text.startswith(begin):
            return kind
    if start[:1] == b"\x80" and start[1:2] <= b"\x05":
        return Kind("pickle", f"a pickle, {_CODE}")
    if _is_text(start):
        return Kind("text", f"text: {_DOWNLOAD}")
    return Kind("unknown", "no safetensors file, nor anything else that is known here")


def header_of(path: Path) -> Header:
    """The header of a safetensors file. Raises ModelLoadError, which names what is none."""
    if size_of(path) and _is_header(read_start(path, _START)):
        return read_header(path)
    raise ModelLoadError(f"{path.name} is {what_is(path).words}")


def kind_of_tensors(names: Collection[str]) -> Kind:
    """What tensors of these names are."""
    lines = "\n".join(names)
    for name, patterns, words in _TENSORS:
        if all(re.search(each, lines, re.MULTILINE) for each in patterns):
            return Kind(name, words)
    return Kind(WEIGHTS, "weights of something else" if names else "a file without any weights")


def refuse_others(path: Path, *kinds: str, wanted: str) -> None:
    """Raises ModelLoadError if the file is of none of `kinds`; `wanted` is what it should be."""
    kind = what_is(path)
    if kind.name not in kinds:
        raise ModelLoadError(f"{path.name} is no {wanted}, but {kind.words}")


def refuse_file(place: Path) -> None:
    """Raises ModelLoadError if `place` is a file and no folder as diffusers writes them, which says
    what it is and what can be done."""
    if place.is_dir():
        return
    kind = what_is(place)
    raise ModelLoadError(
        f"{place.name} is {kind.words}, where a folder as diffusers writes them is needed"
    )


def _is_header(start: bytes) -> bool:
    """Whether the file begins as safetensors do: the length of a header, and JSON. A length has
    zeros, text has none."""
    return start[8:9] == b"{" and b"\0" in start[:8]


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and len(start) == _START
    return b"\0" not in start
