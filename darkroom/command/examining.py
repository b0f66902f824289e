"""What is to be said of a model before it gets a card, and why it gets none; command line, loads
none."""

from darkroom import single_files
from darkroom.catalog import Catalog
from darkroom.errors import ModelLoadError
from darkroom.inspection import inspect_model
from darkroom.model_card import ModelCard
from darkroom.model_files import ModelFiles
from darkroom.networks import main_names
from darkroom.offers import offer

HALF, WHOLE = 2, 4
"""Bytes of a number on a GPU and on a CPU."""


def examined(catalog: Catalog, card: ModelCard) -> tuple[str, ...]:
    """What is to be said of a new model. Raises ModelLoadError if its files cannot be used."""
    files = catalog.files(card)
    if files is None:
        place = catalog.locate(card.source)
        if place is not None:
            raise ModelLoadError(f"{card.source}: {_fault(catalog, card)}")
        return (f"its files are not here yet: `darkroom models pull {card.name}`",)
    tasks = offer(catalog, card, None).tasks
    if not tasks:
        raise ModelLoadError(
            f"{card.source}: diffusers' {files.pipeline} is not one of the pipelines that can be "
            "used; docs/models.md lists them"
        )
    _inspect(files, catalog, card)
    half, whole = (
        sum(files.part(name).size(width, card.variant) for name in files.parts) / 2**30
        for width in (HALF, WHOLE)
    )
    return (
        ", ".join(tasks),
        f"weights take {half:.1f} GiB of memory on a GPU, {whole:.1f} GiB on a CPU",
    )


def _inspect(files: ModelFiles, catalog: Catalog, card: ModelCard) -> None:
    """Raises ModelLoadError if no worker would read the model's files."""
    variant = files.variant(card.variant)
    try:
        inspect_model(files, variant)
    except ModelLoadError as error:
        raise ModelLoadError(f"{card.source}: {error}") from None
    lacking = [each for each in files.weighty if not files.part(each).weights(variant)]
    is_here = catalog.locate(card.source) is not None  # else the rest of it can be pulled
    if is_here and (networks := [each for each in lacking if each in main_names()]):
        raise ModelLoadError(f"{card.source}: its {' and '.join(networks)} holds no .safetensors")


def _fault(catalog: Catalog, card: ModelCard) -> str:
    """Why files that are here are no model."""
    try:
        single_files.files_of(card, catalog.locate, lambda source, _: catalog.root / source)
    except ModelLoadError as error:
        return str(error)
    return "it cannot be used"
