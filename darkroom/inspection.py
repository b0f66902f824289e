"""Looks at a folder of weights before any library reads it, and refuses what could run code, never
end, or take all memory; used by the worker and the command line, loads none."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from darkroom.errors import ModelLoadError
from darkroom.model_files import CONFIG, INDEX, SAFETENSORS, ModelFiles, PartFiles
from darkroom.safe_files import (
    MAX_JSON_BYTES,
    MAX_TOKENIZER_BYTES,
    NotJSONError,
    load_json,
    size_of,
)
from darkroom.weight_headers import read_header

READ = (".json", ".txt", ".model", ".jinja", SAFETENSORS)
"""Endings of the files that libraries look for."""
CONFIGS = (CONFIG, "scheduler_config.json")
MAX_LIST = 1000
"""Entries of a list of a configuration, each of which can become a layer."""
MAX_NUMBERS = (
    ("layers|blocks|depth", 1000),
    ("pos_embed_max_size", 1024),
    ("sample_size|image_size", 4096),
    ("num_train_timesteps", 100_000),
    ("", 2**31),
)
"""The largest number that configurations may give for what is called like this; the first line that
fits a name counts. Networks of a billion layers or positions are begun before weights are compared
with them; the largest published ones have 126 layers (Llama 3.1 405B), 384 positions a side (Stable
Diffusion 3.5), pictures of 1024 pixels."""

_INDEX_NAME = re.compile(r".+\.safetensors\.index(\.[\w-]+)?\.json")
_VOCABULARY = re.compile(r"tokenizer|vocab|merges|added_tokens|spiece")


def inspect_model(files: ModelFiles, variant: str | None) -> None:
    """Look at the folder of a model and those of its parts. Raises ModelLoadError."""
    load_json(files.folder / INDEX)
    _inspect_texts(files.folder)
    for name in files.parts:
        if not name.isidentifier():
            raise ModelLoadError(f"{INDEX} names a part {name[:80]!r}, which is no name")
        if (part := files.part(name)).folder.is_dir():
            inspect_part(part, variant, name)


def inspect_part(files: PartFiles, variant: str | None, name: str = "") -> None:
    """Look at a folder that holds weights, of which `variant` is to be read. Raises
    ModelLoadError, which begins with `name`."""
    try:
        _inspect_part(files, variant)
    except ModelLoadError as error:
        raise ModelLoadError(f"{name}: {error}" if name else str(error)) from None


def _inspect_part(files: PartFiles, variant: str | None) -> None:
    _inspect_texts(files.folder)
    shards = [shard for index in _indexes(files.folder, variant) for shard in _shards(index)]
    for path in dict.fromkeys((*files.weights(variant), *shards)):
        if path.is_file():  # a shard that is missing: the loader says so
            read_header(path)


def _inspect_texts(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix not in READ or path.is_dir() or not path.exists():
            continue
        size = size_of(path)
        is_vocabulary = _VOCABULARY.search(path.name) is not None
        limit = MAX_JSON_BYTES if path.suffix == ".json" else MAX_TOKENIZER_BYTES
        limit = MAX_TOKENIZER_BYTES if is_vocabulary else limit
        if path.suffix == SAFETENSORS:
            continue
        if path.suffix == ".json":
            with suppress(NotJSONError):  # whoever reads it says so
                content = load_json(path, limit)
                if path.name in CONFIGS:
                    _check_numbers(content, path.name)
        elif size > limit:
            raise ModelLoadError(f"{path.name} has {size:,} bytes, where {limit:,} are enough")


def _indexes(folder: Path, variant: str | None) -> Iterator[Path]:
    """The files that say in which others weights lie, in the spellings of both libraries."""
    for path in sorted(folder.iterdir()):
        if _INDEX_NAME.fullmatch(path.name) and path.is_file():
            _check_index(path)
            if variant is None or f".{variant}." in path.name:
                yield path


def _check_index(path: Path) -> None:
    for name in _weight_map(path).values():
        if not isinstance(name, str) or not name.endswith(SAFETENSORS):
            raise ModelLoadError(
                f"{path.name} names {str(name)[:80]!r}, which could run code when it is read; only "
                "safetensors are loaded"
            )
        if Path(name).name != name or "\\" in name:
            raise ModelLoadError(f"{path.name} names {name[:80]!r}, which lies outside its folder")


def _shards(index: Path) -> Iterator[Path]:
    for name in dict.fromkeys(_weight_map(index).values()):
        yield index.with_name(name)


def _weight_map(index: Path) -> dict[str, Any]:
    content = load_json(index)
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise ModelLoadError(f"{index.name} does not say in which files weights lie")
    return found


def _check_numbers(value: Any, file: str, name: str = "") -> None:
    """Numbers and lists of a configuration that no network has."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_numbers(inner, file, key)
    elif isinstance(value, list):
        if len(value) > MAX_LIST:
            raise ModelLoadError(f"{file} has a list of {len(value):,} entries, {name[:80]!r}")
        for inner in value:
            _check_numbers(inner, file, name)
    elif isinstance(value, int):
        most = next(most for words, most in MAX_NUMBERS if re.search(words, name))
        if abs(value) > most:
            raise ModelLoadError(
                f"{file} has a {name[:80]!r} of {value:.4g}, where {most:,} is much"
            )
