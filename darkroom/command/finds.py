"""What a file, a folder or a repository is, as far as models.toml is concerned, by headers and
configurations alone; of the command line only, knows no torch.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from darkroom.command.presets import PRESETS, title
from darkroom.errors import ModelLoadError
from darkroom.file_families import UNETS, Contents, contents_of
from darkroom.file_kinds import (
    CHECKPOINT,
    CONTROLNET,
    EMBEDDING,
    IP_ADAPTER,
    LORA,
    TRANSFORMER,
    UNET,
    VAE,
    what_is,
)
from darkroom.lora_keys import read_keys
from darkroom.model_families import family_in
from darkroom.model_files import CONFIG, INDEX, PICKLES, SAFETENSORS, ModelFiles, read_json
from darkroom.networks import main_names
from darkroom.safe_files import size_of
from darkroom.single_files import SHIPPED
from darkroom.weight_headers import Header, read_header

MODEL = "source"
NETWORK = "transformer"
FIELDS = {
    CHECKPOINT: MODEL,
    TRANSFORMER: NETWORK,
    UNET: NETWORK,
    LORA: "loras",
    CONTROLNET: "controlnets",
    EMBEDDING: "embeddings",
    VAE: "vae",
}
"""The field of a card that a file of a kind belongs into."""
NAMES = {
    MODEL: "a model",
    NETWORK: "a network without its other parts",
    "loras": "a LoRA",
    "controlnets": "a ControlNet",
    "embeddings": "an embedding",
    "vae": "a VAE",
}
_TITLES = ("modelspec.title", "ss_output_name")
"""Of metadata, as Stability's ModelSpec and kohya's scripts write them."""
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_HUB = ("huggingface.co", "hf.co")


@dataclass(frozen=True)
class Find:
    """Something that can go into models.toml."""

    source: str
    """A path, or a repository's id."""
    field: str
    """Where it goes: `MODEL`, `NETWORK`, or another of `FIELDS`."""
    families: tuple[str, ...] = ()
    """Those that it may be for, the likeliest first; empty: not known."""
    size: int | None = None
    """Bytes of a file."""
    dtype: str = ""
    revision: str | None = None
    unread: tuple[str, ...] = ()
    """Parts of a checkpoint that are not read, by their names in diffusers' pipelines."""
    titles: str = ""
    """What its metadata call it."""

    @property
    def is_model(self) -> bool:
        return self.field in (MODEL, NETWORK)

    @property
    def stem(self) -> str:
        """Its name without an ending."""
        name = self.source.rstrip("/").rpartition("/")[2]
        return name.removesuffix(SAFETENSORS)

    @property
    def words(self) -> str:
        """What it is, for people."""
        name = "a checkpoint of which the network is read" if self.unread else NAMES[self.field]
        return f"{name}, {title(self.families[0])}" if self.families else name


def find(what: str) -> Find | None:
    """What a path, a repository or a short name of `PRESETS` is; None: a folder of loose files.

    Raises ModelLoadError if it can be nothing in models.toml."""
    path = Path(what).expanduser()
    if path.exists() or path.is_symlink():
        if path.is_dir():
            return _in_folder(path)
        return in_file(path)
    if what in PRESETS:
        return Find(PRESETS[what].source, MODEL)
    if repository := _repository(what):
        return repository
    raise ModelLoadError(
        f"{what} is no file or folder here, and no repository of the Hub, such as owner/name"
    )


def in_file(path: Path) -> Find:
    """What one file of weights is. Raises ModelLoadError."""
    kind = what_is(path)
    if kind.name == "pickle":
        raise ModelLoadError(
            f"{path.name} is a pickle, which could run code when it is read: look for the same as "
            f"`.safetensors`, or make it so with `darkroom models convert {path.name}`"
        )
    if kind.name == IP_ADAPTER:
        raise ModelLoadError(
            f"{path.name} is {kind.words}: write `ip_adapter` into a card by hand, with the folder "
            "of its image encoder"
        )
    if kind.name not in FIELDS:
        unused = "" if ":" in kind.words else ", which is not used here"
        raise ModelLoadError(f"{path.name} is {kind.words}{unused}")
    header = read_header(path)
    if kind.name == LORA:
        _refuse_broken(path, header)
    contents = contents_of(header)
    _refuse_quantized(path, contents)
    field = FIELDS[kind.name]
    titles = " ".join(header.metadata.get(each, "") for each in _TITLES)
    unread: tuple[str, ...] = ()
    if kind.name == CHECKPOINT and contents.family and contents.family not in SHIPPED:
        field = NETWORK
        unread = tuple(each for each in contents.parts if each not in main_names())
    return Find(
        str(path), field, contents.families, size_of(path), contents.dtype, None, unread, titles
    )


def loose(folder: Path) -> Iterator[Path]:
    """Files of weights, and folders that are models or parts of some, below a folder, in order.
    Links to files are followed, links to folders are not: they can go in circles."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if here != folder and (INDEX in names or CONFIG in names):
            folders.clear()
            yield here
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith((SAFETENSORS, *PICKLES, ".gguf")) and not name.startswith("."):
                yield here / name


def at(path: Path) -> Find:
    """What one of the places of `loose` is. Raises ModelLoadError."""
    found = _in_folder(path) if path.is_dir() else in_file(path)
    if found is None:
        raise ModelLoadError(f"{path.name} is a folder of something that is not used here")
    return found


def _in_folder(path: Path) -> Find | None:
    if (path / INDEX).is_file():
        files = ModelFiles(path)
        if files.pipeline is None:
            raise ModelLoadError(f"{path.name}: {INDEX} is damaged")
        family = family_in(files)
        return Find(str(path), MODEL, (family,) if family else ())
    if (path / CONFIG).is_file():
        config = read_json(path / CONFIG)
        cls = str(config.get("_class_name", "something else"))
        if cls.startswith("ControlNetModel"):
            family = UNETS.get(config.get("cross_attention_dim", 0))
            return Find(str(path), "controlnets", (family,) if family else ())
        if cls.startswith("Autoencoder"):
            return Find(str(path), "vae")
        raise ModelLoadError(f"{path.name} is the folder of {cls}, which is a part of a model")
    return None


def _repository(what: str) -> Find | None:
    """A repository by its id or the address of its page."""
    revision = None
    parts = urlsplit(what)
    if parts.scheme in ("http", "https"):
        if parts.hostname not in _HUB:
            raise ModelLoadError(
                f"{what} is no page of the Hub; download what is there and name the file"
            )
        names = parts.path.strip("/").split("/")
        what = "/".join(names[:2])
        if len(names) > 3 and names[2] == "tree" and names[3] != "main":
            revision = names[3]
    if not _REPOSITORY.fullmatch(what) or what.endswith((SAFETENSORS, *PICKLES, ".gguf")):
        return None
    return Find(what, MODEL, revision=revision)


def _refuse_broken(path: Path, header: Header) -> None:
    try:
        read_keys(header)
    except ModelLoadError as error:
        raise ModelLoadError(f"{path.name}: {error}") from None


def _refuse_quantized(path: Path, contents: Contents) -> None:
    if contents.is_quantized:
        raise ModelLoadError(
            f"{path.name} holds numbers of eight bits or fewer ({contents.dtype}), which are not "
            "read; get the same in float16 or bfloat16"
        )
