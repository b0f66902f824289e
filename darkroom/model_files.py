"""What lies on disk for a model: its index, its parts, their configurations and weights; used by
all processes, knows neither torch nor diffusers.

A folder as diffusers writes it, of which parts may lie in single files elsewhere:
darkroom/single_files.py says where.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from darkroom.errors import ModelLoadError
from darkroom.networks import AUTOENCODERS, main_names
from darkroom.safe_files import load_json
from darkroom.variants import of_variant, only_variant, variants
from darkroom.weight_headers import read_header

SIGMAS = ("karras", "exponential", "beta")
INDEX, CONFIG = "model_index.json", "config.json"
SAFETENSORS = ".safetensors"
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""A LoRA as peft saves it, and what it says of it."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
"""Endings of files that can run code when they are read."""

MAX_LEVELS, MAX_COUNT = 16, 2**20
"""Of a VAE's halvings of a picture, and of any number of a configuration that is read here."""

COMMIT = re.compile(r"[0-9a-f]{7,39}")
"""The beginning of one."""
_FLOATS = re.compile(r"F(?:8|16|32|64)\b|F8_\w+|BF16")


@dataclass(frozen=True)
class WeightFile:
    """A single file that holds the weights of a part, and perhaps more."""

    path: Path
    start: str = ""
    """What the names of the part's tensors begin with; empty: all are the part's."""


@dataclass(frozen=True)
class PartFiles:
    """The files of one part of a model, or of something that is loaded by itself."""

    folder: Path
    single: WeightFile | None = None
    """Where its weights are, if not in the folder."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its configuration; empty if it cannot be read."""
        return read_json(self.folder / CONFIG)

    @property
    def safetensors(self) -> list[str]:
        """Names of the files that hold weights and can run no code."""
        if self.single:
            return [self.single.path.name]
        return [name for name in self._names if name.endswith(SAFETENSORS)]

    @property
    def pickles(self) -> list[str]:
        """Names of the files that hold weights and can run code."""
        return [name for name in self._names if name.endswith(PICKLES)]

    def weights(self, variant: str | None = None) -> list[Path]:
        """The files that are loaded: those of `variant`, else those of none."""
        if self.single:
            return [self.single.path]
        return [self.folder / name for name in of_variant(self._names, variant)]

    @property
    def variants(self) -> set[str | None]:
        """Of its files of weights; None of those that are of none."""
        return variants(self._names)

    def size(self, width: int, variant: str | None = None) -> int:
        """Bytes that the weights take once each number of floating point takes `width` bytes, by
        the headers of the files; what cannot be read takes none."""
        start = self.single.start if self.single else ""
        return sum(_size(file, width, start) for file in self.weights(variant))

    @property
    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*") if path.is_file())


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model."""

    folder: Path
    places: Mapping[str, WeightFile] = field(default_factory=dict)
    """Where parts are whose weights do not lie in the folder."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """What stands for options of the noise scheduler's configuration."""

    @cached_property
    def index(self) -> dict[str, Any]:
        """What the model is made of; empty if it cannot be read."""
        return read_json(self.folder / INDEX)

    @property
    def pipeline(self) -> str | None:
        """The diffusers class of its pipeline."""
        name = self.index.get("_class_name")
        return name if isinstance(name, str) else None

    @property
    def parts(self) -> dict[str, tuple[str | None, str | None]]:
        """The library and the class of each part; None for both of one that is left out. Other
        lists are options of the pipeline."""
        return {
            name: (entry[0], entry[1])
            for name, entry in self.index.items()
            if isinstance(entry, list)
            and len(entry) == 2
            and all(each is None or isinstance(each, str) for each in entry)
        }

    def variant(self, asked: str | None) -> str | None:
        """The variant to read: the one that is asked for or, where some part has no other files,
        the only one there is."""
        kinds = (self.part(name).variants for name, (library, _) in self.parts.items() if library)
        return asked or only_variant(kinds)

    @property
    def scheduler(self) -> str | None:
        """The class of its noise scheduler."""
        return self.parts.get("scheduler", (None, None))[1]

    @property
    def sigmas(self) -> str | None:
        """The kind of sigmas that its noise scheduler is configured to have."""
        return next((kind for kind in SIGMAS if self._steps.get(f"use_{kind}_sigmas")), None)

    @property
    def timestep_spacing(self) -> str | None:
        """How its noise scheduler is configured to space timesteps."""
        spacing = self._steps.get("timestep_spacing")
        return spacing if isinstance(spacing, str) else None

    @cached_property
    def _steps(self) -> dict[str, Any]:
        """How its noise scheduler is configured."""
        return {**read_json(self.folder / "scheduler" / "scheduler_config.json"), **self.overrides}

    def native_size(self, vae: PartFiles | None = None) -> tuple[int, int] | None:
        """Width and height in pixels that its network was trained at, with `vae` in place of the
        model's own if there is one. None where the configurations do not surely tell."""
        own = [self.part(name) for name in AUTOENCODERS]
        levels = next((vae.config for vae in ([vae] if vae else own) if vae.config), {})
        channels = levels.get("block_out_channels")
        if not isinstance(channels, list) or len(channels) > MAX_LEVELS:
            return None
        for name in main_names():
            size = self.part(name).config.get("sample_size")
            height, width = size if isinstance(size, list) and len(size) == 2 else (size, size)
            if _is_side(height) and _is_side(width):
                return width * times_smaller(levels), height * times_smaller(levels)
        return None

    def size_multiple(self, vae: PartFiles | None, latents: int | None) -> int | None:
        """Of how many pixels both sides of its pictures have to be multiples: of so many `latents`
        or, if that is None, of the patches of its transformer. None where that is not known."""
        config = vae.config if vae else self.part("vae").config
        if not isinstance(config.get("block_out_channels"), list):
            return None
        if latents is None:
            latents = _count(self.part("transformer").config, "patch_size") or 1
        return times_smaller(config) * latents

    def latent_channels(self, vae: PartFiles | None) -> int | None:
        """Of its VAE, or of `vae` in place of that; None where that is not known."""
        return _count((vae or self.part("vae")).config, "latent_channels")

    @property
    def classes(self) -> int | None:
        """How many classes of pictures it knows, where it makes pictures of classes."""
        return _count(self.part("transformer").config, "num_embeds_ada_norm")

    @property
    def weighty(self) -> list[str]:
        """Names of the parts that are networks, autoencoders and text encoders."""
        networks = (*main_names(), *AUTOENCODERS, "text_encoder")
        return [name for name, (_, cls) in self.parts.items() if cls and name.startswith(networks)]

    def part(self, name: str) -> PartFiles:
        return PartFiles(self.folder / name, self.places.get(name))

    def replacing(self, name: str, place: WeightFile) -> "ModelFiles":
        """The same with other weights for one part."""
        return replace(self, places={**self.places, name: place})

    def predicting(self, prediction: str, *, zero_snr: bool = False) -> "ModelFiles":
        """The same with a network that was trained to predict something else."""
        overrides: dict[str, Any] = {"prediction_type": prediction}
        if zero_snr:  # such noise is met at the last timestep only, where "leading" never begins
            overrides |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return replace(self, overrides={**self.overrides, **overrides})


def _is_side(number: Any) -> TypeGuard[int]:
    return type(number) is int and 0 < number < 2**16


def times_smaller(vae: Mapping[str, Any], levels: int = 1) -> int:
    """How many times smaller than the picture the latents of a VAE are on each side, by its
    configuration; `levels` are taken for granted."""
    blocks = vae.get("block_out_channels")
    known = len(blocks) if isinstance(blocks, list) and len(blocks) <= MAX_LEVELS else levels
    return int(2 ** (max(known, 1) - 1))


def _count(config: Mapping[str, Any], name: str) -> int | None:
    """A positive number of a configuration that a network of today can have."""
    number = config.get(name)
    return number if type(number) is int and 0 < number <= MAX_COUNT else None


def cached_folder(source: str, revision: str | None, landmark: str) -> Path | None:
    """The folder of a repository in the Hugging Face cache, which holds a file named `landmark`;
    None if it was not pulled, or nothing that is installed here could have done so."""
    try:
        import huggingface_hub  # only workers bring it along
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = huggingface_hub.try_to_load_from_cache(source, landmark, revision=revision)
        if found is None and revision and COMMIT.fullmatch(revision):
            name = huggingface_hub.file_download.repo_folder_name(repo_id=source, repo_type="model")
            known = Path(huggingface_hub.constants.HF_HUB_CACHE, name, "snapshots")
            begun = [each / landmark for each in known.glob(f"{revision}*")]
            return begun[0].parent if len(begun) == 1 and begun[0].is_file() else None
    except HFValidationError:  # it is no repository's id
        return None
    return Path(found).parent if isinstance(found, str) else None


def snapshot(place: Path) -> Path:
    """`place` or, of a repository's own folder in the cache (`models--owner--name`), what is in its
    branch `main`, or the only ones there are."""
    known = place / "snapshots"
    if not place.name.startswith("models--") or not known.is_dir():
        return place
    main = place / "refs" / "main"
    found = [known / main.read_text().strip()] if main.is_file() else list(known.iterdir())
    return found[0] if len(found) == 1 else place


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model; empty if it cannot be read."""
    try:
        content = load_json(path)
    except ModelLoadError:
        return {}
    return content if isinstance(content, dict) else {}


def _size(file: Path, width: int, start: str) -> int:
    try:
        header = read_header(file)
    except ModelLoadError:
        return 0
    return sum(
        math.prod(each.shape) * width if _FLOATS.match(each.dtype) else each.size
        for name, each in header.items()
        if name.startswith(start)
    )
