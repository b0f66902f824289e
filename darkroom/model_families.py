"""Which family a model of models.toml is of, by headers and configurations; used by all processes,
knows neither torch nor diffusers."""

from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.file_families import UNETS, contents_of
from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles
from darkroom.weight_headers import read_header

_PIPELINES = (
    ("StableDiffusionXL", "sdxl"),
    ("StableDiffusion3", "sd3"),
    ("Flux2", "flux2"),
    ("Flux", "flux-dev"),
    ("QwenImage", "qwen-image"),
    ("ZImage", "z-image"),
    ("Chroma", "chroma"),
    ("Lumina2", "lumina2"),
    ("AuraFlow", "auraflow"),
)
"""Families by how the class of a pipeline begins, where that tells."""


def family_of(catalog: Catalog, card: ModelCard) -> str | None:
    """The family of a model of models.toml, by its files on this machine; None if that is not
    known. Names are those of `darkroom.file_families`."""
    place = catalog.locate(card.transformer or card.source)
    if place is not None and not place.is_dir():
        try:
            return contents_of(read_header(place)).family
        except ModelLoadError:
            return None
    files = catalog.files(card)
    return family_in(files) if files else None


def family_in(files: ModelFiles) -> str | None:
    """The family of a folder as diffusers writes it."""
    if files.index.get("requires_aesthetics_score"):
        return "sdxl-refiner"
    if family := family_of_class(files.pipeline):
        return family
    width = files.part("unet").config.get("cross_attention_dim")
    return UNETS.get(width) if isinstance(width, int) else None


def family_of_class(pipeline: str | None) -> str | None:
    """The family of models of a pipeline class, where that tells."""
    names = (family for begin, family in _PIPELINES if (pipeline or "").startswith(begin))
    return next(names, None)
